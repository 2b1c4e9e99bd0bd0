"""What the reference model does with holds and pending points."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from tests.properties.model_lots import Lots
from tests.properties.model_shapes import (
    Account,
    ActivatePending,
    CaptureHold,
    CreateHold,
    Entry,
    Hold,
    Lot,
    Redeem,
    Refused,
    ReleaseHold,
)

MINOR_DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}
DEFAULT_HOLD = timedelta(hours=1)
LONGEST_HOLD = timedelta(days=400)


class Holds(Lots):
    """Redeeming, at once or in two steps."""

    def _check_redeemable(self, account: Account, op: Redeem | CreateHold, entry: Entry) -> int:
        """How many points it takes, or why none."""
        settings = self.settings
        if debt := self.debt(account, entry.currency):
            raise Refused("IN_DEBT", debt=debt)
        spendable = self._spendable(account, entry.currency)
        if spendable < settings.minimum_balance:
            raise self._short("BELOW_MINIMUM_BALANCE", spendable, settings.minimum_balance)
        if op.points % settings.step:
            raise Refused("NOT_A_MULTIPLE_OF_STEP", step=settings.step)
        taken = op.points
        if isinstance(op, Redeem) and taken > spendable and op.allow_partial:
            taken = spendable - spendable % settings.step
        if taken > spendable or taken == 0:
            raise self._short("INSUFFICIENT_POINTS", spendable, op.points)
        return taken

    def _short(self, reason: str, available: int, required: int) -> Refused:
        short = required - available
        return Refused(reason, available=available, required=required, shortfall=short)

    def _be_active(self, account: Account, time: datetime) -> None:
        account.last_activity = max(account.last_activity or time, time)

    def _redeem(self, account: Account, op: Redeem, entry: Entry) -> Decimal | None:
        taken = self._check_redeemable(account, op, entry)
        entry.kind, entry.requested = "REDEEMED", op.points
        # Redeeming is activity: idle lots live on before it is decided which expire first.
        self._be_active(account, entry.effective_time)
        self._take(account, entry, self._draw(account, entry.currency, taken))
        return self._value(taken)

    def _value(self, points: int) -> Decimal | None:
        if not self.settings.rate:
            return None
        unit = Decimal(1).scaleb(-MINOR_DIGITS[self.settings.money])
        return (points * Decimal(self.settings.rate)).quantize(unit, rounding=ROUND_DOWN)

    # Holds

    def _create_hold(self, account: Account, op: CreateHold, entry: Entry) -> None:
        deadline = op.expire_time or self.now + DEFAULT_HOLD
        taken = self._check_redeemable(account, op, entry)
        entry.kind, entry.requested, entry.expire_time = "HELD", op.points, deadline
        for lot, points in self._draw(account, entry.currency, taken):
            lot.free -= points
            lot.held += points
            entry.draws += ((lot.sequence, points),)
        self._enter(account, entry, available=-taken, held=taken)
        account.holds.append(
            Hold(
                entry.request_id,
                entry.sequence,
                entry.currency,
                taken,
                self.now,
                deadline,
                entry.draws,
            )
        )

    def hold(self, account: Account, request_id: str) -> Hold:
        """The hold that was made under a request id, or `Refused`."""
        for hold in account.holds:
            if hold.request_id == request_id:
                return hold
        raise Refused("HOLD_NOT_FOUND")

    def _capture(self, account: Account, op: CaptureHold, entry: Entry) -> Decimal | None:
        hold = self._open_hold(account, op.hold)
        taken = op.points or hold.points
        if taken > hold.points:
            raise self._short("INSUFFICIENT_POINTS", hold.points, taken)
        self._be_active(account, entry.effective_time)
        hold.state, hold.captured = "CAPTURED", taken
        captured, rest = split(hold.draws, taken)
        entry.kind, entry.currency, entry.points = "CAPTURED", hold.currency, -taken
        entry.requested, entry.related, entry.draws = taken, hold.sequence, captured
        for sequence, points in captured:
            self.lot(account, sequence).held -= points
        self._enter(account, entry, held=-taken)
        if rest:
            released = Entry(0, "RELEASED", entry.effective_time, entry.request_id, hold.currency)
            pieces = self._give_back(account, released, hold.sequence, rest)
            self._come_back(account, pieces, released)
        return self._value(taken)

    def _release(self, account: Account, op: ReleaseHold, entry: Entry) -> None:
        hold = self._open_hold(account, op.hold)
        hold.state = "RELEASED"
        entry.kind, entry.currency = "RELEASED", hold.currency
        pieces = self._give_back(account, entry, hold.sequence, hold.draws)
        self._come_back(account, pieces, entry)

    def _open_hold(self, account: Account, request_id: str) -> Hold:
        hold = self.hold(account, request_id)
        if hold.state != "OPEN":
            raise Refused("HOLD_CLOSED", state=hold.state)
        return hold

    # Pending points

    def _activate(self, account: Account, op: ActivatePending, entry: Entry) -> None:
        pending = [lot for lot in account.lots if lot.pending and lot.free]
        if op.posting:
            gave = {each.lot for each in account.entries if each.request_id == op.posting}
            if op.posting not in account.seen:
                raise Refused("POSTING_NOT_FOUND")
            pending = [lot for lot in pending if lot.sequence in gave]
        if op.lot:
            pending = [lot for lot in pending if lot.sequence == op.lot]
        if not op.posting and not op.lot:
            pending = [lot for lot in pending if lot.currency == entry.currency]
        if not pending:
            raise Refused("NOTHING_PENDING")
        for lot in pending:
            self._activate_lot(account, lot, entry)
        for currency in sorted({lot.currency for lot in pending}):
            self._repay(account, currency, entry.effective_time, entry.request_id)
        for currency in sorted({lot.currency for lot in pending}):
            self._expire_returned(account, pending, replace(entry, currency=currency))

    def _activate_lot(self, account: Account, lot: Lot, cause: Entry) -> None:
        lot.pending, lot.mature_time = False, self.now
        entry = Entry(0, "MATURED", cause.effective_time, cause.request_id, lot.currency)
        entry.lot, entry.mature_time = lot.sequence, lot.mature_time
        entry.expire_time = self.expire_time(account, lot)
        self._enter(account, entry, available=lot.free, pending=-lot.free)


def split(
    draws: tuple[tuple[int, int], ...], points: int
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """The first so many points of some draws, and the others."""
    first, rest = [], []
    for sequence, drawn in draws:
        taken = min(drawn, points)
        points -= taken
        first += [(sequence, taken)] if taken else []
        rest += [(sequence, drawn - taken)] if drawn > taken else []
    return tuple(first), tuple(rest)

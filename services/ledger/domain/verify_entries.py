"""An account rebuilt from its entries alone: balances, lots, counters, holds, what was reversed.

Every kind of entry has one rule here for what it does to lots; what it does to a balance it says
itself. What does not follow is told to `complain`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from kernel import calendar
from services.ledger.domain.account import Balance, Entry, HoldState, Kind
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.counters import TRANSFERRED, TRANSFERS

Complain = Callable[[str, str, object, object], None]
"""Told of a row and a field, what follows, and what is stored."""

_TOTALS = {
    Kind.EARNED: ("earned", 1),
    Kind.REDEEMED: ("redeemed", -1),
    Kind.CAPTURED: ("redeemed", -1),
    Kind.ADJUSTED_IN: ("adjusted_in", 1),
    Kind.ADJUSTED_OUT: ("adjusted_out", -1),
    Kind.EXPIRED: ("expired", -1),
    Kind.EARNING_REVERSED: ("earning_reversed", -1),
    Kind.REDEMPTION_RESTORED: ("redemption_restored", 1),
    Kind.TRANSFERRED_OUT: ("transferred_out", -1),
    Kind.TRANSFERRED_IN: ("transferred_in", 1),
}
# What leaves one account for another; debt that leaves comes in here, and the other way round.
_MOVED = frozenset({Kind.MOVED_OUT, Kind.MOVED_IN})
# What draws do to a lot: to its free and to its held part.
_DRAWS = {
    Kind.REDEEMED: (-1, 0),
    Kind.ADJUSTED_OUT: (-1, 0),
    Kind.EXPIRED: (-1, 0),
    Kind.TRANSFERRED_OUT: (-1, 0),
    Kind.MOVED_OUT: (-1, 0),
    Kind.EARNING_REVERSED: (-1, 0),
    Kind.DEBT_REPAID: (-1, 0),
    Kind.HELD: (-1, 1),
    Kind.CAPTURED: (0, -1),
    Kind.RELEASED: (1, -1),
    Kind.LAPSED: (1, -1),
    Kind.REDEMPTION_RESTORED: (1, 0),
}
_CLOSES = {
    Kind.CAPTURED: HoldState.CAPTURED,
    Kind.RELEASED: HoldState.RELEASED,
    Kind.LAPSED: HoldState.LAPSED,
}


@dataclass(slots=True)
class BuiltLot:
    """A lot as the entries tell it."""

    currency: int
    points: int
    free: int
    pending: bool
    earn_time: datetime
    mature_time: datetime | None
    expire_time: datetime | None
    expiry_kind: ExpiryKind
    inactivity_months: int
    expiry_days: int | None = None
    expiry_round: int | None = None
    held: int = 0
    expired: int = 0
    repaid: int = 0
    claim: int = 0
    covered: int = 0
    noticed_time: datetime | None = None
    # Whether its points came from another account, whose entries say what was reversed of them.
    moved: bool = False


@dataclass(slots=True)
class BuiltHold:
    """A hold as the entries tell it."""

    currency: int
    points: int
    parts: tuple[tuple[int, int], ...]
    create_time: datetime
    expire_time: datetime | None
    state: HoldState = HoldState.OPEN
    captured: int = 0


class Rebuilt:
    """What follows from the entries read so far."""

    def __init__(self, zone: ZoneInfo, complain: Complain) -> None:
        self.balances: dict[int, Balance] = {}
        self.lots: dict[int, BuiltLot] = {}
        self.counters: dict[tuple[int, int], list[int]] = {}
        self.holds: dict[int, BuiltHold] = {}
        self.reversed: dict[int, int] = {}
        # Of lots that came from another account, by lot: their origins say of which entry it was.
        self.reversed_of_moved: dict[int, int] = {}
        self.linked = False
        self._zone = zone
        self._complain = complain

    def read(self, entry: Entry) -> None:
        """Take in the next entry."""
        if entry.counter is not None and entry.kind in (Kind.COUNTED, Kind.COUNT_REVERSED):
            change = entry.counter_change or 0
            self._count(entry.counter, entry.effective_time, change)
            if entry.kind is Kind.COUNT_REVERSED:
                self._reverse(entry, abs(change))
        elif entry.kind is Kind.LINKED:
            self.linked = True
        elif entry.kind is Kind.MOVED_IN and entry.counter is not None:
            self._count(entry.counter, entry.effective_time, entry.counter_change or 0)
        elif entry.currency is not None:
            self._move(f"entry {entry.sequence}", entry, entry.currency)

    def _move(self, row: str, entry: Entry, currency: int) -> None:
        self._balance(row, entry, currency)
        if entry.kind is Kind.MATURED:
            self._mature(row, entry)
        elif entry.lot is not None and entry.expiry_kind is not None:
            self._make_lot(row, entry, currency)
        self._draw(row, entry, currency)
        if entry.kind is Kind.EARNED and entry.points:
            self._count(-1 - currency, entry.effective_time, entry.points)
        elif entry.kind is Kind.EARNING_REVERSED:
            self._take_back(row, entry, currency)
        elif entry.kind is Kind.TRANSFERRED_OUT:
            self._count(TRANSFERS, entry.effective_time, 1)
            self._count(TRANSFERRED - currency, entry.effective_time, -entry.points)
        elif entry.kind is Kind.REDEMPTION_RESTORED:
            self._reverse(entry, entry.points)
        self._hold(row, entry, currency)

    def _balance(self, row: str, entry: Entry, currency: int) -> None:
        balance = self.balances.setdefault(currency, Balance())
        a, p, h, d = entry.change
        self._complain(row, "points", a + p + h - d, entry.points)
        balance.available += a
        balance.pending += p
        balance.held += h
        balance.debt += d
        after = (balance.available, balance.pending, balance.held, balance.debt)
        self._complain(row, "after", after, entry.after)
        if entry.kind in _MOVED:
            total = ("transferred_in", 1) if entry.points > 0 else ("transferred_out", -1)
        else:
            total = _TOTALS.get(entry.kind, ("", 0))
        name, sign = total
        if name:
            setattr(balance, name, getattr(balance, name) + sign * entry.points)

    def _mature(self, row: str, entry: Entry) -> None:
        lot = self.lots.get(entry.lot or 0)
        if lot is None or not lot.pending:
            self._complain(row, "lot", "a pending lot", entry.lot)
            return
        self._complain(row, "change", lot.free, entry.change[0])
        lot.pending = False
        if entry.mature_time is not None:
            # Matured early: what its expiry counts from is another instant now.
            lot.mature_time, lot.expire_time = entry.mature_time, entry.expire_time

    def _make_lot(self, row: str, entry: Entry, currency: int) -> None:
        assert entry.lot is not None
        assert entry.expiry_kind is not None
        self._complain(row, "lot", entry.sequence, entry.lot)
        self.lots[entry.lot] = BuiltLot(
            currency=currency,
            points=entry.points,
            free=entry.points,
            pending=entry.change[1] > 0,
            earn_time=entry.earn_time or entry.effective_time,
            mature_time=entry.mature_time,
            expire_time=entry.expire_time,
            expiry_kind=entry.expiry_kind,
            inactivity_months=entry.inactivity_months or 0,
            expiry_days=entry.expiry_days,
            expiry_round=entry.expiry_round,
            claim=entry.unrecovered or 0,
            moved=entry.earn_time is not None,
        )

    def _draw(self, row: str, entry: Entry, currency: int) -> None:
        if entry.kind is Kind.EXPIRY_NOTICED:
            self._notice(row, entry)
            return
        free, held = _DRAWS.get(entry.kind, (0, 0))
        drawn = 0
        for sequence, points in entry.draws:
            drawn += points
            lot = self.lots.get(sequence)
            if lot is None or lot.currency != currency or points < 1:
                self._complain(row, "draws", "points of a lot", f"{points} of lot {sequence}")
                continue
            lot.free += free * points
            lot.held += held * points
            if min(lot.free, lot.held, lot.points - lot.free - lot.held) < 0:
                self._complain(row, "draws", "points of a lot", f"{points} of lot {sequence}")
            if entry.kind is Kind.EXPIRED:
                lot.expired += points
            elif entry.kind is Kind.DEBT_REPAID:
                lot.repaid += points
            elif entry.kind is Kind.REDEMPTION_RESTORED and entry.expire_time is not None:
                # A grace: the lot lives until then, whatever its terms were.
                lot.expiry_kind, lot.expire_time = ExpiryKind.FIXED, entry.expire_time
        if free or held:
            a, p, h, _ = entry.change
            made = entry.lot is not None and entry.kind is Kind.REDEMPTION_RESTORED
            moved = 0 if made else abs(a + p) if free else abs(h)
            self._complain(row, "draws", moved, drawn)

    def _notice(self, row: str, entry: Entry) -> None:
        self._complain(row, "draws", entry.requested, sum(points for _, points in entry.draws))
        for sequence, points in entry.draws:
            lot = self.lots.get(sequence)
            if lot is None or lot.free != points:
                self._complain(row, "draws", "what is free", f"{points} of lot {sequence}")
            else:
                lot.noticed_time = entry.expire_time

    def _take_back(self, row: str, entry: Entry, currency: int) -> None:
        lot = self.lots.get(entry.related or 0)
        earned = entry.earn_time or (lot.earn_time if lot is not None else None)
        if earned is None:
            self._complain(row, "related", "an earning", entry.related)
            return
        self._count(-1 - currency, earned, entry.points)
        if lot is None:
            return
        others = [draw for draw in entry.draws if draw[0] != entry.related]
        if not entry.requested:
            # What came back to the lot, or to one that it was taken for, met its claim.
            lot.claim += entry.points
            for sequence, points in others:
                if (other := self.lots.get(sequence)) is not None:
                    cover = min(other.covered, points)
                    other.covered -= cover
                    lot.covered += cover
            return
        lot.covered += sum(points for _, points in others)
        if lot.moved and entry.related is not None:
            moved = self.reversed_of_moved
            moved[entry.related] = moved.get(entry.related, 0) + entry.requested
        else:
            self._reverse(entry, entry.requested)
        lot.repaid -= min(lot.repaid, entry.change[3])
        lot.expired -= entry.expired or 0
        lot.claim += entry.unrecovered or 0
        taken = entry.requested - (entry.expired or 0) - (entry.unrecovered or 0)
        self._complain(row, "requested", taken, -entry.points)

    def _hold(self, row: str, entry: Entry, currency: int) -> None:
        if entry.kind is Kind.HELD:
            self.holds[entry.sequence] = BuiltHold(
                currency, entry.requested, entry.draws, entry.record_time, entry.expire_time
            )
            return
        state = _CLOSES.get(entry.kind)
        if state is None:
            return
        hold = self.holds.get(entry.related or 0)
        if hold is None:
            self._complain(row, "related", "a hold", entry.related)
        elif entry.kind is Kind.CAPTURED:
            hold.state, hold.captured = state, -entry.points
        elif hold.state is HoldState.OPEN:
            hold.state = state

    def _reverse(self, entry: Entry, points: int) -> None:
        if entry.related is not None:
            self.reversed[entry.related] = self.reversed.get(entry.related, 0) + points

    def _count(self, counter: int, instant: datetime, value: int) -> None:
        day = calendar.local_day(instant, self._zone)
        key = (counter, calendar.month_index(day))
        self.counters.setdefault(key, [0] * 31)[day.day - 1] += value

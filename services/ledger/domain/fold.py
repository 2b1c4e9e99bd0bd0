"""One account being folded: the primitives that operations and settlements are made of.

Everything that changes an account passes through `Fold`, which keeps balances, lots, counters, the
entries' sequence and the digest chain together. `begin` and `rollback` give a command of several
operations all or nothing.
"""

from bisect import insort
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from kernel import calendar, ids
from services.ledger.domain import expiry
from services.ledger.domain.account import (
    Account,
    Balance,
    Entry,
    Hold,
    HoldState,
    Kind,
    Lot,
    Posting,
    State,
)
from services.ledger.domain.config import POINTS_MAX, Expiry, ExpiryKind
from services.ledger.domain.digest import content_digest, entry_digest
from services.ledger.domain.policy import CurrencyPolicy, Policy
from services.ledger.domain.refusals import PointsOverflow

MONTH_DAYS_MIN = 28

Order = list[tuple[tuple[datetime, datetime, int], int]]


class Fold:
    """An account's working copy, the policy and the instant it is folded at.

    `random62` answers 62 random bits for the ids of new lots.
    """

    __slots__ = ("_content", "_order", "_undo", "account", "now", "policy", "posting", "random62")

    def __init__(
        self, account: Account, policy: Policy, now: datetime, random62: Callable[[], int]
    ) -> None:
        self.account = account
        self.policy = policy
        self.now = max(now, account.record_time)
        self.random62 = random62
        self.posting: Posting | None = None
        self._content = b""
        self._order: dict[int, Order] = {}
        self._undo: list[Callable[[], None]] | None = None

    def open_posting(self, posting: Posting) -> None:
        """Begin a posting; entries made from now on belong to it."""
        self.posting = posting
        self._content = content_digest(posting)
        if posting.addressee is not None:
            self.account.rare = True

    def begin(self) -> None:
        """Remember what is changed from now on."""
        account = self.account
        sequence, digest = account.sequence, account.digest
        activity, due = account.last_activity_time, account.next_due_time
        record_time = account.record_time

        def restore() -> None:
            account.sequence, account.digest = sequence, digest
            account.last_activity_time, account.next_due_time = activity, due
            account.record_time = record_time

        self._undo = [restore]

    def commit(self) -> None:
        """Keep what was changed."""
        self._undo = None

    def rollback(self) -> None:
        """Take back everything since `begin`."""
        for step in reversed(self._undo or []):
            step()
        self._undo = None
        self._order.clear()

    def balance(self, currency: int) -> Balance:
        """The balance of a currency, to be changed."""
        account = self.account
        balance = account.balance(currency)
        if self._undo is not None:
            copy = balance.copy()
            self._undo.append(lambda: account.balances.__setitem__(currency, copy))
            if currency not in account.changed_balances:
                self._undo.append(lambda: account.changed_balances.discard(currency))
        account.changed_balances.add(currency)
        return balance

    def entry(
        self,
        kind: Kind,
        balance: Balance | None,
        currency: int | None,
        before: tuple[int, int, int, int],
        requested: int = 0,
        effective_time: datetime | None = None,
    ) -> Entry:
        """Begin the next entry; `before` are the four numbers of the balance before it.

        The caller fills in what else it says and closes it with `seal`.
        """
        posting = self.posting
        assert posting is not None
        if balance is None:
            after = (0, 0, 0, 0)
        else:
            after = (balance.available, balance.pending, balance.held, balance.debt)
        a, p = after[0] - before[0], after[1] - before[1]
        h, d = after[2] - before[2], after[3] - before[3]
        return Entry(
            sequence=self.account.sequence + 1,
            kind=kind,
            currency=currency,
            points=a + p + h - d,
            change=(a, p, h, d),
            after=after,
            requested=requested,
            effective_time=effective_time or posting.effective_time,
            record_time=posting.record_time,
        )

    def seal(self, entry: Entry) -> None:
        """Chain an entry to the account's history."""
        account, posting = self.account, self.posting
        assert posting is not None
        account.sequence = entry.sequence
        account.digest = entry.digest = entry_digest(account.digest, entry, self._content)
        account.record_time = max(account.record_time, entry.record_time)
        account.touched = True
        if entry.kind > Kind.COUNTED:
            account.rare = True
        posting.entries.append(entry)

    def add_lot(
        self,
        currency: CurrencyPolicy,
        policy: Expiry,
        points: int,
        earn_time: datetime,
        mature_time: datetime,
    ) -> Lot:
        """Make the lot of the next entry."""
        account = self.account
        pending = mature_time > self.now
        lot = Lot(
            sequence=account.sequence + 1,
            id=self.new_id(),
            currency=currency.number,
            points=points,
            free=points,
            held=0,
            pending=pending,
            earn_time=earn_time,
            mature_time=mature_time,
            expire_time=expiry.expire_time(policy, mature_time, self.policy.zone),
            expiry_kind=policy.kind,
            inactivity_months=policy.months if policy.kind is ExpiryKind.INACTIVITY else 0,
            fresh=True,
        )
        if pending:
            _keep_terms(lot, policy)
        self.put_lot(lot)
        return lot

    def new_id(self) -> UUID:
        """An id for a lot."""
        return ids.uuid7(self.now, self.account.bucket, self.random62())

    def put_lot(self, lot: Lot) -> None:
        """Keep the lot of the next entry, whose sequence it has."""
        account = self.account
        lot.whole = True
        if lot.expiry_days is not None or lot.origin is not None or lot.claim or lot.expired:
            account.rare = True
        account.lots[lot.sequence] = lot
        account.changed_lots.add(lot.sequence)
        order = self._order.get(lot.currency)
        if order is not None and not lot.pending:
            insort(order, (self.order(lot), lot.sequence))
        if self._undo is not None:
            sequence = lot.sequence
            self._undo.append(lambda: self._forget(sequence))

    def name(self, lot: Lot) -> None:
        """Have the posting say the id of a lot that its entries name."""
        assert self.posting is not None
        self.posting.lots[lot.sequence] = lot.id

    def expires(self, lot: Lot) -> datetime:
        """When a lot expires as things stand."""
        return expiry.expires(lot, self.account.last_activity_time, self.policy.zone)

    def due_at(self, instant: datetime) -> None:
        """Something falls due at an instant: be woken by then."""
        due = self.account.next_due_time
        if instant < expiry.FOREVER and (due is None or instant < due):
            self.account.next_due_time = instant
            self.account.touched = True

    def active(self, instant: datetime) -> None:
        """The member earned or redeemed at an instant; points that expire by inactivity live on."""
        account = self.account
        last = account.last_activity_time
        if last is None or instant > last:
            account.last_activity_time = instant
            account.touched = True
            if self.policy.config.expiry_notice_days:
                self._told_again(instant)
            # Only the lots that move with activity can be out of order now.
            for currency in list(self._order):
                if any(
                    account.lots[sequence].expiry_kind is ExpiryKind.INACTIVITY
                    for _, sequence in self._order[currency]
                ):
                    del self._order[currency]

    def _told_again(self, instant: datetime) -> None:
        """An expiry that activity moved may have to be told before anything else falls due."""
        months = self.policy.shortest_inactivity
        if months is not None:
            days = months * MONTH_DAYS_MIN - self.policy.config.expiry_notice_days
            self.due_at(instant + timedelta(days=days))

    def draw(self, currency: int, points: int) -> tuple[tuple[int, int], ...]:
        """Take points from spendable lots in spending order; there are enough of them."""
        order = self._spendable(currency)
        lots = self.account.lots
        draws: list[tuple[int, int]] = []
        exhausted = 0
        missing = points
        for _, sequence in order:
            lot = lots[sequence]
            taken = min(lot.free, missing)
            if taken:
                self.take(lot, taken)
                draws.append((sequence, taken))
                missing -= taken
            if lot.free:
                break
            exhausted += 1
            if not missing:
                break
        assert missing == 0, "the balance promised more than its lots hold"
        del order[:exhausted]
        return tuple(draws)

    def take(self, lot: Lot, points: int) -> None:
        """Take points out of a lot's free part."""
        lot.free -= points
        self.account.changed_lots.add(lot.sequence)
        if self._undo is not None:
            self._undo.append(lambda: setattr(lot, "free", lot.free + points))

    def give_back(self, lot: Lot, points: int) -> None:
        """Put points back into a lot's free part."""
        lot.free += points
        self.account.changed_lots.add(lot.sequence)
        self._order.pop(lot.currency, None)
        if self._undo is not None:
            self._undo.append(lambda: setattr(lot, "free", lot.free - points))

    def set_aside(self, lot: Lot, points: int) -> None:
        """Add points to a lot's held part; a negative number takes them out of it."""
        lot.held += points
        self.account.changed_lots.add(lot.sequence)
        if self._undo is not None:
            self._undo.append(lambda: setattr(lot, "held", lot.held - points))

    def expire(self, lot: Lot, points: int) -> None:
        """Take points out of a lot's free part because they expired."""
        self.take(lot, points)
        self.gone(lot, points)

    def gone(self, lot: Lot, points: int) -> None:
        """Count points of a lot as expired; a negative number counts them no longer."""
        lot.expired += points
        lot.expired_change += points
        self.account.changed_lots.add(lot.sequence)
        if lot.fresh:
            self.account.rare = True
        if self._undo is not None:

            def restore() -> None:
                lot.expired -= points
                lot.expired_change -= points

            self._undo.append(restore)

    def amend(self, lot: Lot, **values: object) -> None:
        """Change what is seldom changed of a lot, which was loaded whole."""
        assert lot.whole, "what was not loaded would be overwritten"
        before = {name: getattr(lot, name) for name in values}
        _assign(lot, values)
        self.account.amended_lots.add(lot.sequence)
        self.account.changed_lots.add(lot.sequence)
        self.account.rare = True
        self._order.pop(lot.currency, None)
        if self._undo is not None:
            self._undo.append(lambda: _assign(lot, before))

    def put_hold(self, hold: Hold) -> None:
        """Keep a new hold."""
        account = self.account
        account.holds[hold.sequence] = hold
        account.changed_holds.add(hold.sequence)
        if self._undo is not None:

            def forget() -> None:
                del account.holds[hold.sequence]
                account.changed_holds.discard(hold.sequence)

            self._undo.append(forget)

    def close_hold(self, hold: Hold, state: HoldState, captured: int = 0) -> None:
        """End a hold."""
        before = {"state": hold.state, "captured": hold.captured}
        _assign(hold, {"state": state, "captured": captured})
        self.account.changed_holds.add(hold.sequence)
        if self._undo is not None:
            self._undo.append(lambda: _assign(hold, before))

    def set_state(self, state: State) -> None:
        """Freeze or unfreeze the account."""
        account = self.account
        before = account.state
        account.state, account.changed_state = state, True
        if self._undo is not None:
            self._undo.append(lambda: setattr(account, "state", before))

    def reverse(self, entry: tuple[int, int, int], points: int) -> None:
        """Note that so much more of an entry was reversed."""
        reversed_ = self.account.reversed
        before = reversed_.get(entry, 0)
        reversed_[entry] = before + points
        self.account.changed_reversed.add(entry)
        if self._undo is not None:
            self._undo.append(lambda: reversed_.__setitem__(entry, before))

    def count(self, counter: int, instant: datetime, value: int) -> None:
        """Add to a counter on the local day of an instant; refuses with POINTS_OVERFLOW."""
        day = calendar.local_day(instant, self.policy.zone)
        month = calendar.month_index(day)
        days = self.account.month(counter, month)
        if abs(days[day.day - 1] + value) > POINTS_MAX:
            raise PointsOverflow
        days[day.day - 1] += value
        self.account.changed_counters.add((counter, month))
        if self._undo is not None:
            self._undo.append(lambda: days.__setitem__(day.day - 1, days[day.day - 1] - value))

    def _spendable(self, currency: int) -> Order:
        order = self._order.get(currency)
        if order is None:
            order = self._order[currency] = sorted(
                (self.order(lot), lot.sequence)
                for lot in self.account.lots.values()
                if lot.currency == currency and lot.free and not lot.pending
            )
        return order

    def order(self, lot: Lot) -> tuple[datetime, datetime, int]:
        """Where a lot stands in the order of spending."""
        return expiry.spending_order(lot, self.account.last_activity_time, self.policy.zone)

    def _forget(self, sequence: int) -> None:
        del self.account.lots[sequence]
        self.account.changed_lots.discard(sequence)


def four(balance: Balance) -> tuple[int, int, int, int]:
    """The four numbers of a balance."""
    return balance.available, balance.pending, balance.held, balance.debt


def _assign(target: object, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        setattr(target, name, value)


def _keep_terms(lot: Lot, policy: Expiry) -> None:
    """Keep what the expiry of a pending lot is found by, should it mature early."""
    if policy.kind is ExpiryKind.FIXED:
        lot.inactivity_months = policy.months
        lot.expiry_days, lot.expiry_round = policy.days, policy.round_to
    elif policy.kind is ExpiryKind.DATE and policy.date is not None:
        lot.expiry_days = policy.date.toordinal()

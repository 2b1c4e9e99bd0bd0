"""An account made again from its entries alone: what was known when the last one was recorded.

Every number of an account follows from its entries; this is where that is said once more, apart
from the code that made them. Ids of lots are not in entries, and are all nil here.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from kernel import calendar
from services.ledger.domain.account import (
    Account,
    AccountKey,
    Balance,
    Entry,
    Hold,
    HoldState,
    Kind,
    Lot,
    Posting,
    State,
)
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.counters import TRANSFERRED, TRANSFERS

_NIL = UUID(int=0)
_ACTIVITY = frozenset({Kind.EARNED, Kind.REDEEMED, Kind.CAPTURED})
_STATES = {Kind.FROZEN: State.FROZEN, Kind.UNFROZEN: State.OPEN}

# Which running total grows by the points that a kind brings, and by those that it takes.
_TOTALS: dict[Kind, tuple[str, str]] = {
    Kind.EARNED: ("earned", ""),
    Kind.EARNING_REVERSED: ("", "earning_reversed"),
    Kind.REDEEMED: ("", "redeemed"),
    Kind.CAPTURED: ("", "redeemed"),
    Kind.REDEMPTION_RESTORED: ("redemption_restored", ""),
    Kind.EXPIRED: ("", "expired"),
    Kind.ADJUSTED_IN: ("adjusted_in", ""),
    Kind.ADJUSTED_OUT: ("", "adjusted_out"),
    Kind.TRANSFERRED_IN: ("transferred_in", ""),
    Kind.TRANSFERRED_OUT: ("", "transferred_out"),
    # Debt that moves counts the other way round.
    Kind.MOVED_IN: ("transferred_in", "transferred_out"),
    Kind.MOVED_OUT: ("transferred_in", "transferred_out"),
}

# What a point that is drawn does to its lot: to what is free, held, expired, and repaid debt.
_DRAWN: dict[Kind, tuple[int, int, int, int]] = {
    Kind.REDEEMED: (-1, 0, 0, 0),
    Kind.ADJUSTED_OUT: (-1, 0, 0, 0),
    Kind.EXPIRED: (-1, 0, 1, 0),
    Kind.HELD: (-1, 1, 0, 0),
    Kind.CAPTURED: (0, -1, 0, 0),
    Kind.RELEASED: (1, -1, 0, 0),
    Kind.LAPSED: (1, -1, 0, 0),
    Kind.EARNING_REVERSED: (-1, 0, 0, 0),
    Kind.REDEMPTION_RESTORED: (1, 0, 0, 0),
    Kind.TRANSFERRED_OUT: (-1, 0, 0, 0),
    Kind.MOVED_OUT: (-1, 0, 0, 0),
    Kind.DEBT_REPAID: (-1, 0, 0, 1),
    Kind.EXPIRY_NOTICED: (0, 0, 0, 0),
}


def add_to_totals(balance: Balance, kind: Kind, points: int) -> None:
    """Add the points of entries of one kind and one sign to the running totals."""
    brings, takes = _TOTALS.get(kind, ("", ""))
    name = brings if points > 0 else takes
    if name:
        setattr(balance, name, getattr(balance, name) + abs(points))


def rebuild(
    key: AccountKey, entries: Iterable[tuple[Entry, Posting | None]], zone: ZoneInfo
) -> Account | None:
    """The account after these entries, the first ones of its history; None without any.

    `zone` is that of the program's local days. Lots are whole, also those of which nothing is left.
    `link_to` says where the member's commands landed, whatever kind of link it was.
    """
    builder = Rebuilder(key, zone)
    for entry, posting in entries:
        builder.read(entry, posting)
    return builder.account if builder.account.sequence else None


class Rebuilder:
    """Takes in an account's entries from the first on."""

    def __init__(self, key: AccountKey, zone: ZoneInfo) -> None:
        beginning = calendar.EARLIEST
        self.account = Account(
            bucket=key[0],
            id=key[1],
            program=0,
            member="",
            enrol_time=beginning,
            record_time=beginning,
        )
        self._zone = zone
        self._moved: set[int] = set()

    def read(self, entry: Entry, posting: Posting | None) -> None:
        """Take in the next entry and its posting; None where the posting is missing."""
        account = self.account
        account.sequence = entry.sequence
        account.record_time = max(account.record_time, entry.record_time)
        account.digest = entry.digest
        if posting is not None:
            account.version = max(account.version, posting.version)
        if entry.kind is Kind.ENROLLED:
            account.enrol_time = entry.effective_time
        last = account.last_activity_time
        if entry.kind in _ACTIVITY and (last is None or entry.effective_time > last):
            account.last_activity_time = entry.effective_time
        account.state = _STATES.get(entry.kind, account.state)
        if entry.kind in {Kind.LINKED, Kind.UNLINKED}:
            account.link_to = entry.counterpart if entry.kind is Kind.LINKED else None
        if entry.counter is not None:
            self._count(entry.counter, entry.effective_time, entry.counter_change or 0)
        if entry.currency is not None:
            self._move(entry, entry.currency)
        self._note_reversal(entry)

    def _move(self, entry: Entry, currency: int) -> None:
        balance = self.account.balance(currency)
        available, pending, held, debt = entry.change
        balance.available += available
        balance.pending += pending
        balance.held += held
        balance.debt += debt
        add_to_totals(balance, entry.kind, entry.points)
        if entry.lot == entry.sequence and entry.points:
            self._make_lot(entry, currency)
        elif entry.kind is Kind.MATURED and entry.lot in self.account.lots:
            _mature(self.account.lots[entry.lot], entry)
        for sequence, points in entry.draws:
            _draw(self.account.lots[sequence], entry, points)
        if entry.kind is Kind.EARNED:
            self._count(-1 - currency, entry.effective_time, entry.points)
        elif entry.kind is Kind.EARNING_REVERSED:
            self._reverse(entry, currency)
        elif entry.kind is Kind.TRANSFERRED_OUT:
            self._count(TRANSFERS, entry.effective_time, 1)
            self._count(TRANSFERRED - currency, entry.effective_time, -entry.points)
        elif entry.kind is Kind.HELD:
            self._hold(entry, currency)
        elif entry.related in self.account.holds:
            _end(self.account.holds[entry.related], entry)

    def _make_lot(self, entry: Entry, currency: int) -> None:
        kind = entry.expiry_kind or ExpiryKind.NONE
        if entry.earn_time is not None:
            self._moved.add(entry.sequence)
        self.account.lots[entry.sequence] = Lot(
            sequence=entry.sequence,
            id=_NIL,
            currency=currency,
            points=entry.points,
            free=entry.points,
            held=0,
            pending=entry.change[1] > 0,
            earn_time=entry.earn_time or entry.effective_time,
            mature_time=entry.mature_time or entry.effective_time,
            expire_time=None if kind is ExpiryKind.INACTIVITY else entry.expire_time,
            expiry_kind=kind,
            inactivity_months=entry.inactivity_months or 0,
            claim=entry.unrecovered or 0,
            expiry_days=entry.expiry_days,
            expiry_round=entry.expiry_round,
            whole=True,
        )

    def _reverse(self, entry: Entry, currency: int) -> None:
        """Give back to the counter, and to the lot what the reversal says of it."""
        lots = self.account.lots
        lot = lots.get(entry.related or 0)
        earned = entry.earn_time or (entry.effective_time if lot is None else lot.earn_time)
        self._count(-1 - currency, earned, entry.points)
        if lot is None:
            return
        others = [draw for draw in entry.draws if draw[0] != entry.related]
        if not entry.requested:
            # Points that came back to the lot, or to one that it was taken for, met the claim.
            lot.claim += entry.points
            for sequence, points in others:
                cover = min(lots[sequence].covered, points)
                lots[sequence].covered -= cover
                lot.covered += cover
            return
        lot.covered += sum(points for _, points in others)
        lot.claim += entry.unrecovered or 0
        lot.expired -= entry.expired or 0
        lot.repaid -= min(lot.repaid, entry.change[3])

    def _hold(self, entry: Entry, currency: int) -> None:
        self.account.holds[entry.sequence] = Hold(
            sequence=entry.sequence,
            currency=currency,
            points=entry.requested,
            parts=entry.draws,
            create_time=entry.record_time,
            expire_time=entry.expire_time or entry.record_time,
        )

    def _note_reversal(self, entry: Entry) -> None:
        """How much of an entry was reversed so far, whatever could be taken."""
        reversed_ = {
            Kind.EARNING_REVERSED: entry.requested,
            Kind.REDEMPTION_RESTORED: entry.points,
            Kind.COUNT_REVERSED: abs(entry.counter_change or 0),
        }.get(entry.kind)
        # Of points that came from another account that one says what was reversed.
        if reversed_ and entry.related is not None and entry.related not in self._moved:
            place = (*self.account.key, entry.related)
            self.account.reversed[place] = self.account.reversed.get(place, 0) + reversed_

    def _count(self, counter: int, instant: datetime, value: int) -> None:
        day = calendar.local_day(instant, self._zone)
        self.account.month(counter, calendar.month_index(day))[day.day - 1] += value


def _mature(lot: Lot, entry: Entry) -> None:
    lot.pending = False
    if entry.mature_time is not None:
        # Before its time: its expiry counts from then.
        lot.mature_time = entry.mature_time
        if lot.expiry_kind is not ExpiryKind.INACTIVITY:
            lot.expire_time = entry.expire_time


def _draw(lot: Lot, entry: Entry, points: int) -> None:
    free, held, expired, repaid = _DRAWN[entry.kind]
    lot.free += free * points
    lot.held += held * points
    lot.expired += expired * points
    lot.repaid += repaid * points
    if entry.kind is Kind.EXPIRY_NOTICED:
        lot.noticed_time = entry.expire_time
    elif entry.kind is Kind.REDEMPTION_RESTORED and entry.expire_time is not None:
        # Returned with grace.
        lot.expiry_kind, lot.expire_time = ExpiryKind.FIXED, entry.expire_time


def _end(hold: Hold, entry: Entry) -> None:
    if entry.kind is Kind.CAPTURED:
        hold.state, hold.captured = HoldState.CAPTURED, -entry.points
    elif entry.kind is Kind.LAPSED:
        hold.state = HoldState.LAPSED
    elif entry.kind is Kind.RELEASED and hold.state is HoldState.OPEN:
        hold.state = HoldState.RELEASED

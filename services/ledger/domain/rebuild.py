"""An account made again from its entries alone: what was known when the last one was recorded.

Every number of an account follows from its entries; this is where that is said once more, apart
from the code that made them. Reading the past makes an account this way, and so does verifying,
which is told of every entry that does not follow from those before it. Ids of lots are not in
entries, and are all nil here.
"""

from collections.abc import Callable, Iterable
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

Complain = Callable[[str, str, object, object], None]
"""Told of a row and a field, what follows, and what is stored; also where both are equal."""

_NIL = UUID(int=0)
ACTIVITY = frozenset({Kind.EARNED, Kind.REDEEMED, Kind.CAPTURED})
STATES = {Kind.FROZEN: State.FROZEN, Kind.UNFROZEN: State.OPEN}

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
}

_CLOSES = {
    Kind.CAPTURED: HoldState.CAPTURED,
    Kind.RELEASED: HoldState.RELEASED,
    Kind.LAPSED: HoldState.LAPSED,
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


def _say_nothing(row: str, field: str, follows: object, stored: object) -> None:
    pass


class Rebuilder:
    """Takes in an account's entries from the first on, and says what does not follow.

    `reversed_of_moved` says of lots that came from another account, and whose entry does not say
    from which lot, how much was reversed of them. `linked` is whether the account ever was linked.
    """

    def __init__(self, key: AccountKey, zone: ZoneInfo, complain: Complain = _say_nothing) -> None:
        beginning = calendar.EARLIEST
        self.account = Account(
            bucket=key[0],
            id=key[1],
            program=0,
            member="",
            enrol_time=beginning,
            record_time=beginning,
        )
        self.reversed_of_moved: dict[int, int] = {}
        self.moved: set[int] = set()
        self.linked = False
        self._zone = zone
        self._complain = complain

    def read(self, entry: Entry, posting: Posting | None) -> None:
        """Take in the next entry and its posting; None where the posting is missing."""
        account, kind = self.account, entry.kind
        account.sequence = entry.sequence
        account.record_time = max(account.record_time, entry.record_time)
        account.digest = entry.digest
        if posting is not None and posting.version > account.version:
            account.version = posting.version
        if kind in ACTIVITY:
            self._active(entry.effective_time)
        if entry.currency is not None:
            self._move(f"entry {entry.sequence}", entry, entry.currency)
        elif entry.counter is not None:
            change = entry.counter_change or 0
            self._count(entry.counter, entry.effective_time, change)
            if kind is Kind.COUNT_REVERSED:
                self._note_reversal(entry, abs(change))
        elif kind is Kind.ENROLLED:
            account.enrol_time = entry.effective_time
        elif kind is Kind.MOVED_IN:
            # Whoever was merged into this member was active then.
            self._active(entry.effective_time)
        elif kind in STATES:
            account.state = STATES[kind]
        elif kind in {Kind.LINKED, Kind.UNLINKED}:
            self.linked = True
            account.link_to = entry.counterpart if kind is Kind.LINKED else None

    def _active(self, instant: datetime) -> None:
        last = self.account.last_activity_time
        if last is None or instant > last:
            self.account.last_activity_time = instant

    def _move(self, row: str, entry: Entry, currency: int) -> None:
        kind = entry.kind
        self._balance(row, entry, currency)
        if kind is Kind.MATURED:
            self._mature(row, entry)
        elif entry.lot is not None and entry.expiry_kind is not None:
            self._make_lot(row, entry, entry.lot, currency)
        if kind is Kind.EXPIRY_NOTICED:
            self._notice(row, entry)
        elif kind in _DRAWN:
            self._draw(row, entry, currency, _DRAWN[kind])
        if kind is Kind.EARNED:
            if entry.points:
                self._count(-1 - currency, entry.effective_time, entry.points)
        elif kind is Kind.EARNING_REVERSED:
            self._take_back(row, entry, currency)
        elif kind is Kind.REDEMPTION_RESTORED:
            self._note_reversal(entry, entry.points)
        elif kind is Kind.MOVED_OUT and entry.related is not None:
            self._hand_over(row, entry, entry.related)
        elif kind is Kind.TRANSFERRED_OUT:
            self._count(TRANSFERS, entry.effective_time, 1)
            self._count(TRANSFERRED - currency, entry.effective_time, -entry.points)
        elif kind is Kind.HELD:
            self._hold(entry, currency)
        elif kind in _CLOSES:
            self._close(row, entry, _CLOSES[kind])
        if entry.covers:
            self._cover(row, entry)

    def _balance(self, row: str, entry: Entry, currency: int) -> None:
        balance = self.account.balance(currency)
        a, p, h, d = entry.change
        self._complain(row, "points", a + p + h - d, entry.points)
        balance.available += a
        balance.pending += p
        balance.held += h
        balance.debt += d
        after = (balance.available, balance.pending, balance.held, balance.debt)
        self._complain(row, "after", after, entry.after)
        add_to_totals(balance, entry.kind, entry.points)

    def _make_lot(self, row: str, entry: Entry, sequence: int, currency: int) -> None:
        self._complain(row, "lot", entry.sequence, sequence)
        kind = entry.expiry_kind or ExpiryKind.NONE
        # An earning of which nothing is here, and which is taken back: a lot for what comes back.
        empty = entry.kind is Kind.EARNING_REVERSED
        if entry.earn_time is not None:
            self.moved.add(sequence)
        self.account.lots[sequence] = Lot(
            sequence=sequence,
            id=_NIL,
            currency=currency,
            points=0 if empty else entry.points,
            free=0 if empty else entry.points,
            held=0,
            pending=entry.change[1] > 0,
            earn_time=entry.earn_time or entry.effective_time,
            mature_time=entry.mature_time or entry.effective_time,
            expire_time=None if kind is ExpiryKind.INACTIVITY else entry.expire_time,
            expiry_kind=kind,
            inactivity_months=entry.inactivity_months or 0,
            expired=0 if empty else entry.expired or 0,
            repaid=entry.repaid or 0,
            claim=0 if empty else entry.unrecovered or 0,
            expiry_days=entry.expiry_days,
            expiry_round=entry.expiry_round,
            origin=entry.origin,
            whole=True,
        )

    def _mature(self, row: str, entry: Entry) -> None:
        lot = self.account.lots.get(entry.lot or 0)
        if lot is None or not lot.pending:
            self._complain(row, "lot", "a pending lot", entry.lot)
            return
        self._complain(row, "change", lot.free, entry.change[0])
        lot.pending = False
        if entry.mature_time is not None:
            # Before its time: its expiry counts from then.
            lot.mature_time = entry.mature_time
            if lot.expiry_kind is not ExpiryKind.INACTIVITY:
                lot.expire_time = entry.expire_time

    def _draw(self, row: str, entry: Entry, currency: int, does: tuple[int, int, int, int]) -> None:
        free, held, expired, repaid = does
        drawn = 0
        for sequence, points in entry.draws:
            drawn += points
            lot = self.account.lots.get(sequence)
            if lot is None or lot.currency != currency or points < 1:
                self._complain(row, "draws", "points of a lot", f"{points} of lot {sequence}")
                continue
            lot.free += free * points
            lot.held += held * points
            lot.expired += expired * points
            lot.repaid += repaid * points
            if min(lot.free, lot.held, lot.points - lot.free - lot.held) < 0:
                self._complain(row, "draws", "points of a lot", f"{points} of lot {sequence}")
            if entry.kind is Kind.REDEMPTION_RESTORED and entry.expire_time is not None:
                # Returned with grace: the lot lives until then, whatever its terms were.
                lot.expiry_kind, lot.expire_time = ExpiryKind.FIXED, entry.expire_time
        a, p, h, _ = entry.change
        # A redemption that comes back after a merge makes a lot, and draws from none.
        made = entry.lot is not None and entry.kind is Kind.REDEMPTION_RESTORED
        self._complain(row, "draws", 0 if made else abs(a + p) if free else abs(h), drawn)

    def _notice(self, row: str, entry: Entry) -> None:
        self._complain(row, "draws", entry.requested, sum(points for _, points in entry.draws))
        for sequence, points in entry.draws:
            lot = self.account.lots.get(sequence)
            if lot is None or lot.free != points:
                self._complain(row, "draws", "what is free", f"{points} of lot {sequence}")
            else:
                lot.noticed_time = entry.expire_time

    def _take_back(self, row: str, entry: Entry, currency: int) -> None:
        """Give back to the counter, and to the lot what the reversal says of it."""
        lots = self.account.lots
        lot = lots.get(entry.related or 0)
        earned = entry.earn_time or (lot.earn_time if lot is not None else None)
        if earned is None:
            self._complain(row, "related", "an earning", entry.related)
            return
        self._count(-1 - currency, earned, entry.points)
        if lot is None:
            return
        others = [draw for draw in entry.draws if draw[0] != entry.related]
        if not entry.requested:
            # Points that came back to the lot, or to one that it was taken for, met the claim.
            lot.claim += entry.points
            for sequence, points in others if not entry.covers else ():
                if (other := lots.get(sequence)) is not None:
                    cover = min(other.covered, points)
                    other.covered -= cover
                    lot.covered += cover
            return
        self._note_reversal(entry, entry.requested)
        lot.covered += sum(points for _, points in others)
        lot.repaid -= min(lot.repaid, entry.change[3])
        lot.expired -= entry.expired or 0
        lot.claim += entry.unrecovered or 0
        taken = entry.requested - (entry.expired or 0) - (entry.unrecovered or 0)
        self._complain(row, "requested", taken, -entry.points)

    def _hand_over(self, row: str, entry: Entry, sequence: int) -> None:
        """What is known of a lot besides its points went to another account."""
        lot = self.account.lots.get(sequence)
        if lot is None:
            self._complain(row, "related", "a lot", sequence)
            return
        lot.claim -= entry.unrecovered or 0
        lot.expired -= entry.expired or 0
        lot.repaid -= entry.repaid or 0

    def _cover(self, row: str, entry: Entry) -> None:
        for sequence, points in entry.covers:
            lot = self.account.lots.get(sequence)
            if lot is None:
                self._complain(row, "covers", "points of a lot", f"{points} of lot {sequence}")
            else:
                lot.covered += points

    def _hold(self, entry: Entry, currency: int) -> None:
        self.account.holds[entry.sequence] = Hold(
            sequence=entry.sequence,
            currency=currency,
            points=entry.requested,
            parts=entry.draws,
            create_time=entry.record_time,
            expire_time=entry.expire_time or entry.record_time,
        )

    def _close(self, row: str, entry: Entry, state: HoldState) -> None:
        hold = self.account.holds.get(entry.related or 0)
        if hold is None:
            self._complain(row, "related", "a hold", entry.related)
        elif entry.kind is Kind.CAPTURED:
            hold.state, hold.captured = state, -entry.points
        elif hold.state is HoldState.OPEN:
            hold.state = state

    def _note_reversal(self, entry: Entry, points: int) -> None:
        """How much of an entry was reversed so far, whatever could be taken."""
        related = entry.related
        if related is None:
            return
        place = (*self.account.key, related)
        if related in self.moved and entry.kind is Kind.EARNING_REVERSED:
            origin = self.account.lots[related].origin
            if origin is None:
                self.reversed_of_moved[related] = self.reversed_of_moved.get(related, 0) + points
                return
            # What was moved is reversed as what it was at first.
            place = origin
        self.account.reversed[place] = self.account.reversed.get(place, 0) + points

    def _count(self, counter: int, instant: datetime, value: int) -> None:
        day = calendar.local_day(instant, self._zone)
        self.account.month(counter, calendar.month_index(day))[day.day - 1] += value

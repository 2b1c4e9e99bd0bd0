"""What rows say besides points: to whom they belong, in which order, when they were written.

Digests bind what an entry and its posting say; they do not bind where the rows stand. Whoever moves
a row to another place, or changes what is kept beside the entries only to find things faster, is
named here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from kernel import ids
from services.ledger.domain import expiry
from services.ledger.domain.account import (
    Account,
    AccountKey,
    AccountKind,
    Entry,
    Kind,
    Link,
    Lot,
    Posting,
    State,
)
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.verify import FINDINGS_MAX, Finding

# What a member did, so that points which expire by inactivity live on.
_ACTIVITY = {Kind.EARNED, Kind.REDEEMED, Kind.CAPTURED}
_TRANSFERS = {Kind.TRANSFERRED_OUT, Kind.TRANSFERRED_IN}
_STATES = {Kind.FROZEN: State.FROZEN, Kind.UNFROZEN: State.OPEN}


@dataclass(frozen=True, slots=True)
class Peer:
    """The posting of another account that a posting names; whether that names this one, too."""

    account: AccountKey
    knows_it: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Whose a posting is, which of the account's entries are its own, and its peer if there."""

    account: AccountKey
    program: int
    first_entry: int
    entry_count: int
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rows around an account say.

    `sandbox` is its program's, None where there is no such program. `is_group` and `links_to_group`
    are whether a group is described for it, and for the account that it is linked to. `misfiled`
    are lots that are said to be open and are not, or the other way round; `uprooted` are lots whose
    origin is no lot of the same points.
    """

    sandbox: bool | None
    has_person: bool
    is_group: bool
    links_to_group: bool
    has_requests: bool
    misfiled: frozenset[int]
    uprooted: frozenset[int]


class PlaceVerifier:
    """Reads an account's entries from the first to the last, then compares what is stored."""

    def __init__(self, key: AccountKey, zone: ZoneInfo) -> None:
        self.findings: list[Finding] = []
        self._key = key
        self._zone = zone
        self._posting: Posting | None = None
        self._place: Place | None = None
        self._last_entry = 0
        self._program: int | None = None
        self._enrol_time: datetime | None = None
        self._record_time: datetime | None = None
        self._activity: datetime | None = None
        self._state = State.OPEN
        self._link_to: AccountKey | None = None
        # The postings of entries that made a lot or a hold, and when they were recorded.
        self._made: dict[int, tuple[int, datetime]] = {}

    def read(self, entry: Entry, posting: Posting, place: Place) -> None:
        """Take in the next entry with its posting."""
        if self._posting is None or posting.sequence != self._posting.sequence:
            self._end_posting()
            self._begin_posting(entry, posting, place)
        self._last_entry = entry.sequence
        if entry.kind in _TRANSFERS:
            peer = None if entry.counterpart is None else Peer(entry.counterpart, knows_it=True)
            self._check(f"posting {posting.sequence}", "peer", peer, place.peer)
        if entry.kind is Kind.ENROLLED and self._enrol_time is None:
            self._enrol_time = entry.effective_time
        if entry.kind in _ACTIVITY and (
            self._activity is None or entry.effective_time > self._activity
        ):
            self._activity = entry.effective_time
        self._state = _STATES.get(entry.kind, self._state)
        if entry.kind in (Kind.LINKED, Kind.UNLINKED):
            self._link_to = entry.counterpart if entry.kind is Kind.LINKED else None
        if entry.lot == entry.sequence or entry.kind is Kind.HELD:
            self._made[entry.sequence] = (posting.sequence, entry.record_time)

    def finish(self, account: Account, lots: Iterable[Lot], around: Surroundings) -> list[Finding]:
        """Compare what is stored with what follows; findings in the order of history."""
        self._end_posting()
        erased = account.state is State.ERASED
        for name, follows, stored in (
            ("program", self._program, account.program),
            ("sandbox", around.sandbox, account.sandbox),
            ("state", self._state, self._state if erased else account.state),
            ("person", "a person", "a person" if around.has_person or erased else "none"),
            ("enrol_time", self._enrol_time, account.enrol_time),
            ("record_time", self._record_time, account.record_time),
            ("last_activity_time", self._activity, account.last_activity_time),
            ("kind", around.is_group, account.kind is not AccountKind.PERSON),
            ("link", self._link_to, account.link_to),
            ("elsewhere", around.has_requests, account.elsewhere),
        ):
            # An account that nothing was ever posted to follows from nothing.
            if self._posting is not None:
                self._check("account", name, follows, stored)
        if account.link is not None:
            self._check("account", "link", around.links_to_group, account.link is not Link.MERGED)
        kept = list(lots)
        for lot in kept:
            self._compare_lot(lot, around)
        for hold in account.holds.values():
            if hold.sequence in self._made:
                posting, _ = self._made[hold.sequence]
                self._check(f"hold {hold.sequence}", "posting", posting, hold.posting)
        self._wakes_in_time(account, kept)
        return self.findings[:FINDINGS_MAX]

    def _begin_posting(self, entry: Entry, posting: Posting, place: Place) -> None:
        row = f"posting {posting.sequence}"
        before = self._posting
        if before is not None and posting.sequence < before.sequence:
            self._check(row, "sequence", f"more than {before.sequence}", posting.sequence)
        if self._program is None:
            self._program = place.program
        self._check(row, "account", self._key, place.account)
        self._check(row, "program", self._program, place.program)
        self._check(row, "first_entry", entry.sequence, place.first_entry)
        if posting.peer_place is not None and place.peer is None:
            self._check(row, "peer", "a posting", "none")
        if posting.request_id == "":
            self._check(row, "request_id", "a request id, or none", "an empty one")
        if self._record_time is None or posting.record_time > self._record_time:
            self._record_time = posting.record_time
        self._posting, self._place = posting, place

    def _end_posting(self) -> None:
        if self._posting is not None and self._place is not None:
            count = self._last_entry - self._place.first_entry + 1
            row = f"posting {self._posting.sequence}"
            self._check(row, "entry_count", count, self._place.entry_count)

    def _compare_lot(self, lot: Lot, around: Surroundings) -> None:
        row = f"lot {lot.sequence}"
        if lot.sequence in around.misfiled:
            self._check(row, "open", lot.free + lot.held > 0, lot.free + lot.held == 0)
        if lot.sequence in around.uprooted:
            self._check(row, "origin", "a lot of the same points", lot.origin)
        if lot.expiry_kind is ExpiryKind.INACTIVITY:
            # Its instant moves with what the member does.
            self._check(row, "expire_time", None, lot.expire_time)
        made = self._made.get(lot.sequence)
        if made is None:
            return
        posting, record_time = made
        self._check(row, "posting", posting, lot.posting)
        bucket, low = ids.bucket_and_low(lot.id)
        # What is random in an id is free; the rest says when and where the lot was made.
        self._check(row, "id", ids.uuid7(record_time, self._key[0], low), lot.id)
        self._check(row, "id", self._key[0], bucket)

    def _wakes_in_time(self, account: Account, lots: Iterable[Lot]) -> None:
        """The account may be woken too early, never too late."""
        due = expiry.FOREVER
        for lot in lots:
            if lot.pending and lot.free:
                due = min(due, lot.mature_time)
            elif lot.free:
                due = min(due, expiry.expires(lot, account.last_activity_time, self._zone))
        wakes = account.next_due_time
        if due < expiry.FOREVER and (wakes is None or wakes > due):
            self._check("account", "next_due_time", f"{due} at the latest", wakes)

    def _check(self, row: str, field: str, expected: object, stored: object) -> None:
        if expected != stored and len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(row, field, str(expected), str(stored)))

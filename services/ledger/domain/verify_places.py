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

# What two accounts have a posting each of.
_SHARED = {Kind.TRANSFERRED_OUT, Kind.TRANSFERRED_IN, Kind.MOVED_OUT, Kind.MOVED_IN}
# What is reversed at most as far as it went.
_REVERSIBLE = {Kind.EARNED, Kind.REDEEMED, Kind.CAPTURED, Kind.COUNTED}


@dataclass(frozen=True, slots=True)
class Peer:
    """The posting of another account that a posting names.

    `asked` is whether it is a command's own one, `knows_it` whether it names this one, too, and
    `names_one` whether it names any. `names_us` is whether it names another one of the same
    instant, and its entries this account. `addressee` is whose doing it was, where that is another
    account: entries name that one.
    """

    account: AccountKey
    program: int
    asked: bool
    knows_it: bool
    names_one: bool
    names_us: bool = False
    addressee: AccountKey | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Whose a posting is, which of the account's entries are its own, and its peer if there.

    `is_noted` is whether a request of another account's member is found from that account.
    """

    account: AccountKey
    program: int
    first_entry: int
    entry_count: int
    peer: Peer | None = None
    is_noted: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rows around an account say.

    `sandbox` is its program's, None where there is no such program. `group` is the kind of the
    group that is described for it, if one is; `links_to_group` is whether it is linked to one.
    `misfiled` are lots that are said to be open and are not, or the other way round; `uprooted` are
    lots whose origin is no lot of the same points; `misled` are request ids that are said to be
    recorded in a posting of another account, and are not. `unsealed` are rows that somebody else
    wrote than the ledger; `stays` are the entries with which stays in groups begin, and where.
    """

    sandbox: bool | None
    has_person: bool
    group: int | None
    links_to_group: bool
    has_requests: bool
    misfiled: frozenset[int]
    uprooted: frozenset[int]
    misled: tuple[str, ...] = ()
    unsealed: tuple[str, ...] = ()
    stays: tuple[tuple[int, AccountKey], ...] = ()


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
        # The postings of entries that made a lot or a hold, and when they were recorded.
        self._made: dict[int, tuple[int, datetime]] = {}
        self._reversible: dict[int, int] = {}
        self._links: dict[int, AccountKey | None] = {}
        # Of the posting that is being read: the accounts it names, and whether it needs a peer.
        self._counterparts: set[AccountKey] = set()
        self._shared = False

    def read(self, entry: Entry, posting: Posting, place: Place) -> None:
        """Take in the next entry with its posting."""
        if self._posting is None or posting.sequence != self._posting.sequence:
            self._end_posting()
            self._begin_posting(entry, posting, place)
        self._last_entry = entry.sequence
        if entry.counterpart is not None:
            self._counterparts.add(entry.counterpart)
        self._shared = self._shared or entry.kind in _SHARED
        if entry.kind is Kind.LINKED:
            self._links[entry.sequence] = entry.counterpart
        if entry.kind in _REVERSIBLE:
            self._reversible[entry.sequence] = abs(entry.points or entry.counter_change or 0)
        if entry.lot == entry.sequence or entry.kind is Kind.HELD:
            self._made[entry.sequence] = (posting.sequence, entry.record_time)

    def finish(
        self, account: Account, lots: Iterable[Lot], around: Surroundings, rebuilt: Account
    ) -> list[Finding]:
        """Compare what is stored with what follows; findings in the order of history.

        `rebuilt` is the account made again from its entries.
        """
        self._end_posting()
        # Whoever was erased has gone, and nobody else may be said to have.
        erased = account.state is State.ERASED and not around.has_person
        for name, follows, stored in (
            ("program", self._program, account.program),
            ("sandbox", around.sandbox, account.sandbox),
            ("state", rebuilt.state, rebuilt.state if erased else account.state),
            ("person", "a person", "a person" if around.has_person or erased else "none"),
            ("enrol_time", rebuilt.enrol_time, account.enrol_time),
            ("record_time", rebuilt.record_time, account.record_time),
            ("last_activity_time", rebuilt.last_activity_time, account.last_activity_time),
            ("kind", AccountKind(around.group or AccountKind.PERSON), account.kind),
            ("link", rebuilt.link_to, account.link_to),
            ("elsewhere", around.has_requests, account.elsewhere),
        ):
            # An account that nothing was ever posted to follows from nothing.
            if self._posting is not None:
                self._check("account", name, follows, stored)
        if account.link is not None:
            self._check("account", "link", around.links_to_group, account.link is not Link.MERGED)
        for row in around.unsealed:
            self._check(row, "seal", "that of what the row says", "another")
        self._compare_stays(account, around)
        kept = list(lots)
        for lot in kept:
            self._compare_lot(lot, around)
        for request_id in around.misled:
            self._check(f"request {request_id}", "posting", "that of the request", "another")
        for hold in account.holds.values():
            if hold.sequence in self._made:
                posting, _ = self._made[hold.sequence]
                self._check(f"hold {hold.sequence}", "posting", posting, hold.posting)
        self._compare_reversed(account)
        self._wakes_in_time(account, kept)
        return self.findings[:FINDINGS_MAX]

    def _compare_stays(self, account: Account, around: Surroundings) -> None:
        """Every link but that of a merge, which is the last one, begins a stay in a group."""
        links, stays = dict(self._links), dict(around.stays)
        if account.link is Link.MERGED and links:
            del links[max(links)]
        for entry in sorted({*links, *stays}):
            self._check(f"stay since {entry}", "group", links.get(entry), stays.get(entry))

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
        if not place.is_noted:
            self._check(row, "request", "a note in the account of who asked", "none")
        if posting.request_id == "":
            self._check(row, "request_id", "a request id, or none", "an empty one")
        self._posting, self._place = posting, place

    def _end_posting(self) -> None:
        if self._posting is not None and self._place is not None:
            count = self._last_entry - self._place.first_entry + 1
            row = f"posting {self._posting.sequence}"
            self._check(row, "entry_count", count, self._place.entry_count)
            if not self._has_its_peer(self._posting, self._place):
                place = self._posting.peer_place
                self._check(row, "peer", "the posting that belongs with it", place or "none")
        self._counterparts, self._shared = set(), False

    def _has_its_peer(self, posting: Posting, place: Place) -> bool:
        """Whether a posting names the one that it belongs together with.

        Two name each other. Of more, those that nobody asked for name the command's own one, which
        is in another program or names their account, or the side that their points came from.
        """
        peer = place.peer
        if peer is None:
            return posting.peer_place is None and not self._shared
        named = not self._counterparts.isdisjoint({peer.account, peer.addressee})
        if peer.knows_it:
            return named or not self._counterparts
        if posting.request_id is not None:
            return False
        if peer.asked:
            return peer.program != place.program or (named and peer.names_us)
        return named and peer.names_one

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

    def _compare_reversed(self, account: Account) -> None:
        for (*key, sequence), points in account.reversed.items():
            # A claim that was met elsewhere stands under the negative of its lot.
            if tuple(key) == self._key and sequence > 0:
                most = self._reversible.get(sequence, 0)
                if not 0 <= points <= most:
                    self._check(f"reversal {sequence}", "reversed", f"{most} at most", points)

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

"""What commands that name a posting are told of it before they are decided."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from kernel.ids import bucket_and_low
from services.ledger.domain.account import AccountKey, Entry, Kind, Lot, Posting, State
from services.ledger.domain.commands import Command
from services.ledger.domain.decide import decide
from services.ledger.domain.fold import Fold
from services.ledger.domain.recall import Root, pieces, reverse_recalled
from services.ledger.domain.refusals import PostingNotFound
from services.ledger.domain.reversals import SPENT
from services.ledger.operations.addressing import Addressing
from services.ledger.operations.claims import Outrun
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.plans import Parties, Party, Plan
from services.ledger.store import history, merges, rare
from services.ledger.store.accounts import Key
from services.ledger.store.history import StoredPosting


@dataclass(frozen=True, slots=True)
class FoundPosting:
    """A posting, where it is, whose account that is, and the lots that it made or drew from."""

    stored: StoredPosting
    account_member: str
    lots: dict[int, Lot]

    def recall(self) -> "RecallPlan | None":
        """How points that it gave are asked back; None where it gave none."""
        account, entries = self.stored.account, self.stored.posting.entries
        earned = tuple((*account, each.sequence) for each in entries if _earned(each))
        return RecallPlan(earned) if earned else None


def _earned(entry: Entry) -> bool:
    return entry.kind is Kind.EARNED and entry.lot is not None


def lots_named(posting: Posting) -> set[int]:
    """The lots that a posting made or drew from."""
    named = {lot for entry in posting.entries for lot, _ in entry.draws}
    return named.union(entry.lot for entry in posting.entries if entry.lot is not None)


async def find_posting(
    context: LedgerContext, organization: str, program: str, posting: str, member: str = ""
) -> FoundPosting:
    """A posting of the program; with a member only that member's. POSTING_NOT_FOUND.

    Its entries never change, so that they can be read before the account is locked.
    """
    identity = await context.environment.cache.identity(organization, program)
    identifier = UUID(posting)
    place = bucket_and_low(identifier)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        stored = (await history.read_postings(connection, [place])).get(place)
        if stored is None or stored.program != identity.key or stored.posting.id() != identifier:
            raise PostingNotFound(posting)
        named = lots_named(stored.posting)
        lots = await rare.read_lots(connection, [(*stored.account, lot) for lot in named])
    account_member = stored.posting.account_member or stored.posting.member
    if member not in ("", stored.posting.member, account_member):
        raise PostingNotFound(posting)
    return FoundPosting(stored, account_member, {lot.sequence: lot for lot in lots})


async def entries_given(
    context: LedgerContext, organization: str, program: str, posting: str
) -> tuple[AccountKey, int, int] | None:
    """Which entries a posting has: its account, the first and the last; None without a posting."""
    try:
        found = await find_posting(context, organization, program, posting)
    except PostingNotFound:
        return None
    entries = found.stored.posting.entries
    return found.stored.account, entries[0].sequence, entries[-1].sequence


async def others_of(context: LedgerContext, found: FoundPosting) -> list[FoundPosting]:
    """The other postings of a redemption across programs."""
    posting, (bucket, _) = found.stored.posting, found.stored.account
    if not any(entry.kind in SPENT for entry in posting.entries):
        return []
    here = (bucket, posting.sequence)
    root = posting.peer_place or here
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        sides = (await history.read_sides(connection, [root])).get(root, [])
        stored = [
            *(await history.read_postings(connection, [root])).values(),
            *sides,
        ]
        others = []
        for each in stored:
            if (each.account[0], each.posting.sequence) == here:
                continue
            named = lots_named(each.posting)
            lots = await rare.read_lots(connection, [(*each.account, lot) for lot in named])
            whose = each.posting.account_member or each.posting.member
            others.append(FoundPosting(each, whose, {lot.sequence: lot for lot in lots}))
    return others


@dataclass
class RecallPlan(Plan):
    """Reversing an earning of which other accounts may have points by now."""

    roots: tuple[Root, ...]
    _holders: set[Key] = field(default_factory=set)
    _spent: dict[tuple[Key, Root], int] = field(default_factory=dict)

    async def prepare(self, connection: Connection, _: Addressing) -> Collection[Key]:
        """Whoever has points of it."""
        self._holders = await merges.holders(connection, self.roots)
        return self._holders

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Load the lots that they have of it, and what may still come back to those."""
        if await merges.holders(connection, self.roots) - parties.folds.keys():
            raise Outrun
        origins = dict.fromkeys(self._holders, self.roots)
        await rare.load_lots(connection, parties.loaded, [], (), origins)
        self._spent = {}
        for key in self._holders:
            fold = parties.folds[key]
            lots = {lot.sequence: root for root in self.roots for lot in pieces(fold, root)}
            for lot, points in (await merges.spent_of(connection, key, sorted(lots))).items():
                place = key, lots[lot]
                self._spent[place] = self._spent.get(place, 0) + points

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle, and reverse. Those of `decide`."""
        own = party.fold
        parties.settle(own)
        keys = sorted(self._holders - {own.account.key})
        # Whoever is frozen keeps everything.
        others = [
            parties.folds[key] for key in keys if parties.folds[key].account.state is State.OPEN
        ]
        if not others:
            return [(own, decide(own, command, party.addressed))]
        for other in others:
            parties.settle(other)
        return reverse_recalled(own, others, command, party.addressed, self._spent)

"""What commands that name a posting are told of it before they are decided."""

from dataclasses import dataclass
from uuid import UUID

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from kernel.ids import bucket_and_low
from services.ledger.domain.account import AccountKey, Kind, Link, Lot, Posting
from services.ledger.domain.commands import Command
from services.ledger.domain.decide import decide
from services.ledger.domain.fold import Fold
from services.ledger.domain.recall import reverse_brought
from services.ledger.domain.refusals import PostingNotFound
from services.ledger.domain.reversals import SPENT
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.plans import Parties, Party, Plan
from services.ledger.store import history, rare
from services.ledger.store.history import StoredPosting


@dataclass(frozen=True, slots=True)
class FoundPosting:
    """A posting, where it is, whose account that is, and the lots that it made or drew from."""

    stored: StoredPosting
    account_member: str
    lots: dict[int, Lot]

    @property
    def earned(self) -> bool:
        """Whether it gave points."""
        return any(entry.kind is Kind.EARNED for entry in self.stored.posting.entries)


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


class RecallPlan(Plan):
    """Reversing an earning of an account whose points may be in a group by now."""

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Load the lots that the group has of it."""
        for fold in parties.folds.values():
            to = fold.account.link_to
            if fold.account.link is Link.POOLED and to is not None:
                lots = {to: [(*fold.account.key, lot) for lot in fold.account.lots]}
                await rare.load_lots(connection, parties.loaded, [to], (), lots)

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle, and reverse. Those of `decide`."""
        account = party.fold.account
        parties.settle(party.fold)
        if account.link is not Link.POOLED or account.link_to is None:
            return [(party.fold, decide(party.fold, command, party.addressed))]
        group = parties.folds[account.link_to]
        parties.settle(group)
        return reverse_brought(party.fold, group, command, party.addressed)

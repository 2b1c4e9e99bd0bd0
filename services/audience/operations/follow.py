"""Applying what other services published: each change exactly once.

The cursors move in the transaction of the effects, under the locks of their rows. Whoever comes
second with a change, this process after a lost answer or another one, finds it applied already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from services.audience.domain.profile import Posting, Profile, apply_posting
from services.audience.operations.context import AudienceContext
from services.audience.peers.ledger import NAME as LEDGER
from services.audience.peers.ledger import PostingFact
from services.audience.peers.tiers import NAME as TIERS
from services.audience.peers.tiers import TierFact
from services.audience.store import cursors, profiles, programs
from services.audience.store.profiles import Key
from services.audience.store.programs import ProgramRow

Name = tuple[str, str]
"""Organization and program."""


class _Placed(Protocol):
    @property
    def bucket(self) -> int: ...

    @property
    def sequence(self) -> int: ...

    @property
    def erased(self) -> tuple[str, str] | None: ...


_Fact = TypeVar("_Fact", bound=_Placed)


async def load_cursors(context: AudienceContext, stream: str) -> dict[int, int]:
    """The cursors of a stream, as they are stored."""
    async with context.pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await cursors.load(connection, stream)
        context.progress[stream].reach(await cursors.load_reached(connection, stream))
    return found


async def save_reached(context: AudienceContext, stream: str, reached: datetime) -> None:
    """Remember how current a stream is, for whoever starts next."""
    async with context.pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        await cursors.save_reached(connection, stream, reached)


async def apply_postings(
    context: AudienceContext, facts: Sequence[PostingFact], moved: Mapping[int, int]
) -> None:
    """Apply postings to profiles and move the ledger's cursors, in one transaction."""
    async with context.pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        wanted: dict[Name, set[str]] = {}
        for fact in facts:
            if fact.posting is not None:
                name = fact.posting.organization, fact.posting.program
                seen = wanted.setdefault(name, set())
                seen.update(line.currency for line in fact.posting.lines if line.currency)
        rows = await _programs(connection, wanted)
        async with connection.transaction():
            fresh = await _fresh(connection, LEDGER, facts, moved)
            for some, erased in _until_erased(fresh):
                postings = [fact.posting for fact in some if fact.posting is not None]
                await _apply(connection, rows, postings)
                if erased is not None:
                    await profiles.erase(connection, *erased)
            await cursors.save(connection, LEDGER, moved)
    context.progress[LEDGER].count(len(fresh))


async def _apply(
    connection: Connection, rows: Mapping[Name, ProgramRow], postings: Sequence[Posting]
) -> None:
    keyed = [((rows[each.organization, each.program].key, each.member), each) for each in postings]
    if not keyed:
        return
    keys = sorted({key for key, _ in keyed})
    # Read under the lock, so that no currency that somebody else added is left out.
    currencies = await programs.currencies(connection, sorted({key[0] for key in keys}))
    state: dict[Key, Profile] = await profiles.load(connection, keys, currencies)
    for key, posting in keyed:
        state[key] = apply_posting(state.get(key, Profile()), posting)
    await profiles.save(connection, state, currencies)


async def apply_tiers(
    context: AudienceContext, facts: Sequence[TierFact], moved: Mapping[int, int]
) -> None:
    """Apply changes of tiers to profiles and move the tiers' cursors, in one transaction."""
    async with context.pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        names: dict[Name, set[str]] = {
            (fact.move.organization, fact.move.program): set()
            for fact in facts
            if fact.move is not None
        }
        rows = await _programs(connection, names)
        async with connection.transaction():
            fresh = await _fresh(connection, TIERS, facts, moved)
            for some, erased in _until_erased(fresh):
                tiers = {
                    (rows[each.organization, each.program].key, each.member): each.tier
                    for each in (fact.move for fact in some)
                    if each is not None
                }
                if tiers:
                    await profiles.save_tiers(connection, tiers)
                if erased is not None:
                    await profiles.erase_tiers(connection, *erased)
            await cursors.save(connection, TIERS, moved)
    context.progress[TIERS].count(len(fresh))


def _until_erased(
    facts: Sequence[_Fact],
) -> Iterator[tuple[Sequence[_Fact], tuple[str, str] | None]]:
    """The facts in stretches, each up to where somebody is erased: who follows may have the id."""
    begin = 0
    for place, fact in enumerate(facts):
        if fact.erased is not None:
            yield facts[begin:place], fact.erased
            begin = place + 1
    yield facts[begin:], None


async def _programs(
    connection: Connection, wanted: Mapping[Name, Iterable[str]]
) -> dict[Name, ProgramRow]:
    """The programs, with a place for each currency; committed, whatever becomes of the changes."""
    found: dict[Name, ProgramRow] = {}
    for (organization, program), currencies in wanted.items():
        row = await programs.find(connection, organization, program)
        if row is None or not set(currencies) <= set(row.currencies):
            async with connection.transaction():
                row = await programs.ensure(connection, organization, program, sorted(currencies))
        found[organization, program] = row
    return found


async def _fresh(
    connection: Connection, stream: str, facts: Sequence[_Fact], moved: Mapping[int, int]
) -> list[_Fact]:
    """The facts that nobody applied yet; the cursors' rows are locked from here on."""
    stored = await cursors.lock(connection, stream, list(moved))
    return [fact for fact in facts if fact.sequence > stored[fact.bucket]]

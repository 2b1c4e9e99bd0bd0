"""Following the stream: what was committed after the cursors, then what is from now on."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.domain.account import Posting
from services.ledger.domain.policy import Policy
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store import history, stream
from services.ledger.store.stream import ALL, Erasure, Kinds, PostingPlace, ProgramMove, Stretch

PAGE = 500
POLL_S = 0.1
HEARTBEAT_S = 1.0
RARELY_S = 0.5
"""How often is looked for what is rare: who follows only that is not woken by every posting."""


@dataclass(frozen=True, slots=True)
class PostingChange:
    """A posting as it is published."""

    place: PostingPlace
    posting: Posting
    policy: Policy


Change = PostingChange | ProgramMove | Erasure


@dataclass(frozen=True, slots=True)
class Page:
    """Changes in sequence within each bucket, and the cursors after them.

    `current_time` is set where nothing newer was known.
    """

    changes: Sequence[Change]
    cursors: Mapping[int, int]
    current_time: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose changes (None: all organizations'), of which buckets (none: all) and kinds."""

    organization: str | None
    buckets: Sequence[int] = ()
    kinds: Kinds = ALL

    @property
    def rare(self) -> bool:
        """Whether most of what happens is left out."""
        return PostingPlace not in self.kinds


async def watch_changes(
    context: LedgerContext, wanted: Wanted, cursors: Mapping[int, int]
) -> AsyncIterator[Page]:
    """Pages of the changes wanted after the cursors, without end."""
    known = range(context.environment.buckets)
    buckets = sorted(set(wanted.buckets) & set(known)) if wanted.buckets else list(known)
    position = {bucket: cursors.get(bucket, 0) for bucket in buckets}
    beat = 0.0
    while True:
        now = context.environment.clock()
        stretches, whole = await _behind(context, position, rare=wanted.rare)
        if stretches:
            changes = await _read(context, wanted, stretches)
            moved = {stretch.bucket: stretch.until for stretch in stretches}
            position.update(moved)
            if changes:
                yield Page(changes, moved, now if whole else None)
                continue
            if not wanted.rare:
                continue
        if time.monotonic() - beat >= HEARTBEAT_S:
            beat = time.monotonic()
            yield Page((), dict(position), now)
        if wanted.rare:
            await asyncio.sleep(RARELY_S)
        else:
            await context.bell.wait(POLL_S)


async def _behind(
    context: LedgerContext, position: Mapping[int, int], *, rare: bool
) -> tuple[list[Stretch], bool]:
    """The next page of what is behind the heads, and whether it is all of it.

    Where most of it is left out a page is all of it.
    """
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        heads = await stream.heads(connection, list(position))
    stretches: list[Stretch] = []
    room = PAGE
    for bucket, after in position.items():
        until = heads.get(bucket, 0)
        if not rare:
            until = min(until, after + room)
        if until > after:
            stretches.append(Stretch(bucket, after, until))
            room -= until - after
        if room <= 0 and not rare:
            return stretches, False
    return stretches, True


async def _read(
    context: LedgerContext, wanted: Wanted, stretches: Sequence[Stretch]
) -> list[Change]:
    organization = wanted.organization
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        places, others = await stream.moves(connection, stretches, wanted.kinds)
        mine = [place for place in places if organization in (None, place.organization)]
        stored = await history.read_postings(
            connection, [(place.bucket, place.sequence) for place in mine]
        )
    changes: dict[tuple[int, int], Change] = {
        (other.bucket, other.sequence): other
        for other in others
        if organization in (None, other.organization)
    }
    for place in mine:
        found = stored[place.bucket, place.sequence]
        policy = await context.environment.policy(found.program, found.posting.revision)
        changes[place.bucket, place.sequence] = PostingChange(place, found.posting, policy)
    return [changes[key] for key in sorted(changes)]

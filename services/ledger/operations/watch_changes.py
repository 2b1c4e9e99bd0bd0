"""Following the stream: what was committed after the cursors, then what is from now on."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.domain.account import Posting
from services.ledger.domain.policy import Policy
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store import history, stream
from services.ledger.store.stream import PostingPlace, ProgramMove, Stretch

PAGE = 500
POLL_S = 0.1
HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class PostingChange:
    """A posting as it is published."""

    place: PostingPlace
    posting: Posting
    policy: Policy


@dataclass(frozen=True, slots=True)
class Page:
    """Changes in sequence within each bucket, and the cursors after them.

    `current_time` is set where nothing newer was known.
    """

    changes: Sequence[PostingChange | ProgramMove]
    cursors: Mapping[int, int]
    current_time: datetime | None


async def watch_changes(
    context: LedgerContext,
    organization: str | None,
    cursors: Mapping[int, int],
    buckets: Sequence[int],
) -> AsyncIterator[Page]:
    """Pages of an organization's changes (None: of all) after the cursors, without end."""
    known = range(context.environment.buckets)
    wanted = sorted(set(buckets) & set(known)) if buckets else list(known)
    position = {bucket: cursors.get(bucket, 0) for bucket in wanted}
    beat = 0.0
    while True:
        now = context.environment.clock()
        stretches, whole = await _behind(context, position)
        if stretches:
            changes = await _read(context, organization, stretches)
            moved = {stretch.bucket: stretch.until for stretch in stretches}
            position.update(moved)
            if changes:
                yield Page(changes, moved, now if whole else None)
            continue
        if time.monotonic() - beat >= HEARTBEAT_S:
            beat = time.monotonic()
            yield Page((), dict(position), now)
        await context.bell.wait(POLL_S)


async def _behind(
    context: LedgerContext, position: Mapping[int, int]
) -> tuple[list[Stretch], bool]:
    """The next page of what is behind the heads, and whether it is all of it."""
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        heads = await stream.heads(connection, list(position))
    stretches: list[Stretch] = []
    room = PAGE
    for bucket, after in position.items():
        until = min(heads.get(bucket, 0), after + room)
        if until > after:
            stretches.append(Stretch(bucket, after, until))
            room -= until - after
        if not room:
            return stretches, False
    return stretches, True


async def _read(
    context: LedgerContext, organization: str | None, stretches: Sequence[Stretch]
) -> list[PostingChange | ProgramMove]:
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        places, programs = await stream.moves(connection, stretches)
        mine = [place for place in places if organization in (None, place.organization)]
        stored = await history.read_postings(
            connection, [(place.bucket, place.sequence) for place in mine]
        )
    changes: dict[tuple[int, int], PostingChange | ProgramMove] = {
        (move.bucket, move.sequence): move
        for move in programs
        if organization in (None, move.organization)
    }
    for place in mine:
        found = stored[place.bucket, place.sequence]
        policy = await context.environment.policy(found.program, found.posting.revision)
        changes[place.bucket, place.sequence] = PostingChange(place, found.posting, policy)
    return [changes[key] for key in sorted(changes)]

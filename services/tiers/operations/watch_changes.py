"""Following the stream: what was committed behind the cursors, then what is committed later."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection
from services.tiers.domain.ladder import Ladder
from services.tiers.operations.context import TiersContext
from services.tiers.store import changes, erasures
from services.tiers.store.changes import Change, Stretch
from services.tiers.store.connections import reading
from services.tiers.store.erasures import Erasure

PAGE = 500
POLL_S = 0.1
HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """A change with the version of the ladder that it is about."""

    change: Change
    ladder: Ladder


@dataclass(frozen=True, slots=True)
class Page:
    """Changes in sequence within each bucket, and the cursors after them.

    `current_time` is set where nothing newer was known.
    """

    changes: Sequence[Told | Erasure]
    cursors: Mapping[int, int]
    current_time: datetime | None


async def watch_changes(
    context: TiersContext,
    organization: str | None,
    cursors: Mapping[int, int],
    buckets: Sequence[int],
) -> AsyncIterator[Page]:
    """Pages of an organization's changes (None: of all) after the cursors, without end."""
    known = range(context.buckets)
    wanted = sorted(set(buckets) & set(known)) if buckets else list(known)
    position = {bucket: cursors.get(bucket, 0) for bucket in wanted}
    beat: float | None = None
    while True:
        now = context.clock()
        async with reading(context.reads) as connection:
            stretches = behind(await changes.heads(connection, wanted), position)
            found = await _told(context, connection, stretches, organization)
        if stretches:
            moved = {stretch.bucket: stretch.until for stretch in stretches}
            position.update(moved)
            whole = sum(each.until - each.after for each in stretches) < PAGE
            if found:
                yield Page(found, moved, now if whole else None)
            continue
        if beat is None or time.monotonic() - beat >= HEARTBEAT_S:
            beat = time.monotonic()
            yield Page((), dict(position), now)
        await context.bell.wait(POLL_S)


def behind(heads: Mapping[int, int], position: Mapping[int, int]) -> list[Stretch]:
    """What lies between a position and the heads, at most a page of it."""
    stretches: list[Stretch] = []
    room = PAGE
    for bucket, after in position.items():
        until = min(heads.get(bucket, 0), after + room)
        if until > after:
            stretches.append(Stretch(bucket, after, until))
            room -= until - after
        if not room:
            break
    return stretches


async def _told(
    context: TiersContext,
    connection: Connection,
    stretches: Sequence[Stretch],
    organization: str | None,
) -> list[Told | Erasure]:
    if not stretches:
        return []
    found: dict[tuple[int, int], Told | Erasure] = {
        (each.fact.bucket, each.sequence): Told(
            each, await context.ladders.get(connection, each.fact.program, each.fact.ladder)
        )
        for each in await changes.read(connection, stretches, organization)
    }
    for erased in await erasures.read(connection, stretches, organization):
        found[erased.bucket, erased.sequence] = erased
    return [found[place] for place in sorted(found)]

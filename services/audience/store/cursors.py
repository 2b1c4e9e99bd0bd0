"""How far the streams of other services were followed."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from chassis.database import Connection

_ALL = "SELECT bucket, sequence FROM followed WHERE stream = $1"

# Rows are locked in order, so that two processes that follow one stream never deadlock.
_LOCK = """
SELECT bucket, sequence FROM followed
WHERE stream = $1 AND bucket = ANY ($2::int[])
ORDER BY bucket FOR UPDATE
"""

_CREATE = """
INSERT INTO followed (stream, bucket, sequence)
SELECT $1, k.bucket, 0 FROM unnest($2::int[]) AS k (bucket)
ON CONFLICT (stream, bucket) DO NOTHING
"""

_SAVE = """
UPDATE followed f SET sequence = k.sequence
FROM unnest($2::int[], $3::bigint[]) AS k (bucket, sequence)
WHERE f.stream = $1 AND f.bucket = k.bucket AND f.sequence < k.sequence
"""

_REACHED = "SELECT reached_time FROM followed_time WHERE stream = $1"

_SAVE_REACHED = """
INSERT INTO followed_time (stream, reached_time) VALUES ($1, $2)
ON CONFLICT (stream) DO UPDATE
SET reached_time = greatest(followed_time.reached_time, excluded.reached_time)
"""


async def load(connection: Connection, stream: str) -> dict[int, int]:
    """The last sequence applied of each bucket of a stream."""
    return {row[0]: row[1] for row in await connection.fetch(_ALL, stream)}


async def lock(connection: Connection, stream: str, buckets: Sequence[int]) -> dict[int, int]:
    """The last sequence applied of these buckets; their rows are locked until commit."""
    wanted = sorted(buckets)
    rows = await connection.fetch(_LOCK, stream, wanted)
    if len(rows) < len(wanted):
        await connection.execute(_CREATE, stream, wanted)
        rows = await connection.fetch(_LOCK, stream, wanted)
    return {row[0]: row[1] for row in rows}


async def save(connection: Connection, stream: str, cursors: Mapping[int, int]) -> None:
    """Move cursors forward."""
    await connection.execute(_SAVE, stream, list(cursors), list(cursors.values()))


async def load_reached(connection: Connection, stream: str) -> datetime | None:
    """Until when everything recorded is applied; None where that was never known."""
    reached: datetime | None = await connection.fetchval(_REACHED, stream)
    return reached


async def save_reached(connection: Connection, stream: str, reached: datetime) -> None:
    """Remember until when everything recorded is applied."""
    await connection.execute(_SAVE_REACHED, stream, reached)

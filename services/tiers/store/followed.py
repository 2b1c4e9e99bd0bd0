"""How far the streams of other services were followed, and whose turn it is to follow.

Cursors are stored in the same transaction as the effect of what was read.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg

from chassis.database import CONNECT_TIMEOUT_S, Connection

_READ = "SELECT bucket, sequence FROM followed WHERE stream = $1"

_BEGIN = """
INSERT INTO followed (stream, bucket, sequence)
SELECT $1, bucket, 0 FROM unnest($2::int[]) AS bucket ORDER BY bucket
ON CONFLICT DO NOTHING
"""

_MOVE = """
UPDATE followed f SET sequence = k.after
FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS k (bucket, before, after)
WHERE f.stream = $1 AND f.bucket = k.bucket AND f.sequence = k.before
"""

_TRY_TURN = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_TURN_POLL_S = 1.0


class CursorsMoved(Exception):
    """Another process applied what this one was about to apply."""


async def read_cursors(connection: Connection, stream: str) -> dict[int, int]:
    """The last sequence applied of each bucket of a stream."""
    return {row[0]: row[1] for row in await connection.fetch(_READ, stream)}


async def move_cursors(
    connection: Connection, stream: str, before: Mapping[int, int], moved: Mapping[int, int]
) -> None:
    """Move cursors on from where they were before; CursorsMoved where they are elsewhere."""
    new = [bucket for bucket in moved if not before.get(bucket)]
    if new:
        await connection.execute(_BEGIN, stream, new)
    status = await connection.execute(
        _MOVE,
        stream,
        list(moved),
        [before.get(bucket, 0) for bucket in moved],
        list(moved.values()),
    )
    if status != f"UPDATE {len(moved)}":
        raise CursorsMoved


@asynccontextmanager
async def turn(dsn: str, stream: str) -> AsyncIterator[asyncio.Event]:
    """Wait until no other process follows the stream, and keep it so.

    Answers an event that is set when the turn is lost with its connection. Two followers would be
    correct, too, as only one of them can move a cursor, but each would undo the other's work.
    """
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "loyalty follower"}
    )
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        # Whoever has the turn is another process: nothing here could wake this one.
        while not await connection.fetchval(_TRY_TURN, f"loyalty follow {stream}"):  # noqa: ASYNC110
            await asyncio.sleep(_TURN_POLL_S)
        yield lost
    finally:
        # Ends the session and with it the turn, whatever state the connection is in.
        connection.terminate()

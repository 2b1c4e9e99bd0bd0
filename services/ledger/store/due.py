"""What falls due in programs that live by the server's clock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chassis.database import Connection
from services.ledger.store.accounts import Key

CLAIM: Final = 0x5E77_1E00
"""The first key of the locks by which processes share the buckets; the second is the bucket."""

_DUE = """
SELECT a.bucket, a.id
FROM unnest($1::int[]) AS k (bucket)
CROSS JOIN LATERAL (
    SELECT bucket, id FROM account
    WHERE bucket = k.bucket AND next_due_time <= $2 AND NOT sandbox AND id <> ALL ($4::bigint[])
    ORDER BY next_due_time
    LIMIT $3
) a
"""

_OLDEST = """
SELECT k.bucket, a.next_due_time
FROM unnest($1::int[]) AS k (bucket)
CROSS JOIN LATERAL (
    SELECT next_due_time FROM account
    WHERE bucket = k.bucket AND next_due_time IS NOT NULL AND NOT sandbox
    ORDER BY next_due_time
    LIMIT 1
) a
"""

# No lock that a posting ever waits for: who settles an account locks its row as everybody does.
_CLAIM = """
SELECT bucket FROM unnest($1::int[]) AS k (bucket)
WHERE pg_try_advisory_xact_lock($2, bucket)
LIMIT $3
"""


async def due_accounts(
    connection: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    skipped: Sequence[int] = (),
) -> list[Key]:
    """At most `limit` accounts a bucket with something due, the longest due first."""
    rows = await connection.fetch(_DUE, list(buckets), now, limit, list(skipped))
    return [(row[0], row[1]) for row in rows]


async def oldest_due(connection: Connection, buckets: Sequence[int]) -> dict[int, datetime]:
    """The earliest instant at which something is or falls due, by bucket."""
    return {row[0]: row[1] for row in await connection.fetch(_OLDEST, list(buckets))}


async def claim(connection: Connection, buckets: Sequence[int], limit: int) -> list[int]:
    """Claim some buckets that nobody else has, until this transaction ends; at most `limit`."""
    rows = await connection.fetch(_CLAIM, list(buckets), CLAIM, limit)
    return [row[0] for row in rows]

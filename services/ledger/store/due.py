"""What falls due in programs that live by the server's clock."""

from collections.abc import Sequence
from datetime import datetime

from services.ledger.store.accounts import Key
from services.ledger.store.programs import Connection

_DUE = """
SELECT a.bucket, a.id
FROM unnest($1::int[]) AS k (bucket)
CROSS JOIN LATERAL (
    SELECT bucket, id FROM account
    WHERE bucket = k.bucket AND next_due_time <= $2 AND NOT sandbox
    ORDER BY next_due_time
    LIMIT $3
) a
"""

_OLDEST = """
SELECT min(a.next_due_time)
FROM unnest($1::int[]) AS k (bucket)
CROSS JOIN LATERAL (
    SELECT next_due_time FROM account
    WHERE bucket = k.bucket AND next_due_time IS NOT NULL AND NOT sandbox
    ORDER BY next_due_time
    LIMIT 1
) a
"""


async def due_accounts(
    connection: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> list[Key]:
    """At most `limit` accounts a bucket with something due, the longest due first."""
    rows = await connection.fetch(_DUE, list(buckets), now, limit)
    return [(row[0], row[1]) for row in rows]


async def oldest_due(connection: Connection, buckets: Sequence[int]) -> datetime | None:
    """The earliest instant at which something is or falls due."""
    oldest: datetime | None = await connection.fetchval(_OLDEST, list(buckets))
    return oldest

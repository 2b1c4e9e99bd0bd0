"""What falls due in a sandbox, by the index of its accounts."""

from collections.abc import Sequence
from datetime import datetime

from chassis.database import Connection

_DUE = """
SELECT bucket, id, next_due_time FROM account
WHERE sandbox AND program = $1 AND next_due_time <= $2 AND (next_due_time, id) > ($3, $4)
ORDER BY next_due_time, id
LIMIT $5
"""

_NEXT_DUE = """
SELECT min(next_due_time) FROM account
WHERE sandbox AND program = $1 AND next_due_time > $2
"""


async def due_accounts(
    connection: Connection, program: int, until: datetime, after: tuple[datetime, int], limit: int
) -> Sequence[tuple[int, int, datetime]]:
    """At most `limit` accounts with something due until then: (bucket, account, due time).

    By (due time, account), those greater than `after`.
    """
    rows = await connection.fetch(_DUE, program, until, *after, limit)
    return [(row["bucket"], row["id"], row["next_due_time"]) for row in rows]


async def next_due_time(connection: Connection, program: int, now: datetime) -> datetime | None:
    """The earliest due time of any account after `now`: never later than the truth."""
    due: datetime | None = await connection.fetchval(_NEXT_DUE, program, now)
    return due

"""Reading statements: stretches of an account's entries by when they were recorded."""

from collections.abc import Sequence
from datetime import datetime

from chassis.database import Connection
from services.ledger.store import history
from services.ledger.store.accounts import Key
from services.ledger.store.attribution import Stretch
from services.ledger.store.history import StoredEntry

Four = tuple[int, int, int, int]

_RECORD_TIME = """
SELECT record_time FROM entry WHERE bucket = $1 AND account = $2 AND sequence = $3
"""

_LINES = f"""
SELECT {history.ENTRY_COLUMNS}, {history.POSTING_COLUMNS}
FROM entry e JOIN posting p ON p.bucket = e.bucket AND p.sequence = e.posting
WHERE e.bucket = $1 AND e.account = $2 AND e.sequence > $3 AND e.sequence <= $4
    AND ($5::smallint IS NULL OR e.currency = $5)
ORDER BY e.sequence {{order}} LIMIT $6
"""
_OLDEST_FIRST, _NEWEST_FIRST = (_LINES.format(order=order) for order in ("ASC", "DESC"))

# The last entry of each currency is found from the end, however long the history is.
_BALANCES = """
SELECT c.currency, e.available, e.pending, e.held, e.debt
FROM unnest($4::smallint[]) AS c (currency)
CROSS JOIN LATERAL (
    SELECT available, pending, held, debt FROM entry
    WHERE bucket = $1 AND account = $2 AND sequence <= $3 AND currency = c.currency
    ORDER BY sequence DESC LIMIT 1
) e
"""


async def entries_before(connection: Connection, key: Key, instant: datetime, count: int) -> int:
    """How many of the account's `count` entries were recorded before an instant.

    Record times of an account never go back, so that they can be searched like a dictionary.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        recorded: datetime = await connection.fetchval(_RECORD_TIME, *key, middle)
        if recorded < instant:
            low = middle
        else:
            high = middle - 1
    return low


async def lines(connection: Connection, stretch: Stretch, limit: int) -> list[StoredEntry]:
    """At most `limit` entries of a stretch, whoever's doing they were."""
    rows = await connection.fetch(
        _NEWEST_FIRST if stretch.newest_first else _OLDEST_FIRST,
        *stretch.key, stretch.after, stretch.until, stretch.currency, limit,
    )  # fmt: skip
    return await history.stored_entries(connection, stretch.key, rows)


async def balances_after(
    connection: Connection, key: Key, sequence: int, currencies: Sequence[int]
) -> dict[int, Four]:
    """The four numbers of currencies after a sequence; those not yet touched are left out."""
    rows = await connection.fetch(_BALANCES, *key, sequence, list(currencies))
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

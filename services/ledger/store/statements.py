"""Reading statements: stretches of an account's entries by when they were recorded."""

from collections.abc import Sequence
from datetime import datetime

from chassis.database import Connection
from services.ledger.store.accounts import Key

Four = tuple[int, int, int, int]

_RECORD_TIME = """
SELECT record_time FROM entry WHERE bucket = $1 AND account = $2 AND sequence = $3
"""

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


async def balances_after(
    connection: Connection, key: Key, sequence: int, currencies: Sequence[int]
) -> dict[int, Four]:
    """The four numbers of currencies after a sequence; those not yet touched are left out."""
    rows = await connection.fetch(_BALANCES, *key, sequence, list(currencies))
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

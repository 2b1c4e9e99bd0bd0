"""Reading statements: stretches of an account's entries by when they were recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection
from services.ledger.store import history
from services.ledger.store.accounts import Key
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
    AND ($6::int IS NULL OR (p.addressee_bucket = $6 AND p.addressee = $7))
ORDER BY e.sequence LIMIT $8
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


@dataclass(frozen=True, slots=True)
class Lines:
    """Which entries: of a currency (None: of all), and of one addressee (None: of everybody)."""

    currency: int | None
    addressee: Key | None


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


async def lines(
    connection: Connection, key: Key, after: int, until: int, which: Lines, limit: int
) -> list[StoredEntry]:
    """At most `limit` entries after a sequence up to and including another, oldest first."""
    addressee = which.addressee or (None, None)
    rows = await connection.fetch(_LINES, *key, after, until, which.currency, *addressee, limit)
    found = []
    for row in rows:
        posting = history.posting_of(tuple(row)[history.ENTRY_WIDTH :])
        posting.entries.append(history.entry_of(row))
        found.append(StoredEntry(posting.entries[0], posting))
    await history.name_others(connection, [each.posting for each in found])
    return found


async def balances_after(
    connection: Connection, key: Key, sequence: int, currencies: Sequence[int]
) -> dict[int, Four]:
    """The four numbers of currencies after a sequence; those not yet touched are left out."""
    rows = await connection.fetch(_BALANCES, *key, sequence, list(currencies))
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

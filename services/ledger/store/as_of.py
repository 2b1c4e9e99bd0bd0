"""Reading the past of an account: its entries from the first on, and sums of their changes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection
from services.ledger.domain.account import Entry, Kind, Posting
from services.ledger.store import history
from services.ledger.store.accounts import Key

CHUNK = 2_000

_ENTRIES = f"""
SELECT {history.ENTRY_COLUMNS}, {history.POSTING_COLUMNS}
FROM entry e JOIN posting p ON p.bucket = e.bucket AND p.sequence = e.posting
WHERE e.bucket = $1 AND e.account = $2 AND e.sequence > $3
ORDER BY e.sequence LIMIT $4
"""

_SUMS = """
SELECT e.currency, e.kind, sum(e.available_change)::bigint, sum(e.pending_change)::bigint,
    sum(e.held_change)::bigint, sum(e.debt_change)::bigint,
    coalesce(sum(e.points) FILTER (WHERE e.points > 0), 0)::bigint,
    coalesce(sum(e.points) FILTER (WHERE e.points < 0), 0)::bigint,
    max(e.sequence)
FROM entry e
WHERE e.bucket = $1 AND e.account = $2 AND e.effective_time <= $3
GROUP BY e.currency, e.kind
"""

_LINK = """
SELECT kind, counterpart_bucket, counterpart_account FROM entry
WHERE bucket = $1 AND account = $2 AND sequence = $3
"""

_REVISION = """
SELECT revision FROM program_revision WHERE program = $1 AND record_time <= $2
ORDER BY revision DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Sum:
    """What the entries of one currency and kind changed: available, pending, held, debt.

    `brought` and `took` are the net points of those with more than 0, and with less.
    """

    currency: int | None
    kind: Kind
    change: tuple[int, int, int, int]
    brought: int
    took: int
    last: int


async def entries_until(
    connection: Connection, key: Key, until: datetime
) -> AsyncIterator[tuple[Entry, Posting]]:
    """The entries of an account recorded by an instant, oldest first."""
    after = 0
    while True:
        rows = await connection.fetch(_ENTRIES, *key, after, CHUNK)
        for row in rows:
            entry = history.entry_of(row)
            # Record times never go back, so that all later entries are later.
            if entry.record_time > until:
                return
            yield entry, history.posting_of(tuple(row)[history.ENTRY_WIDTH :])
            after = entry.sequence
        if len(rows) < CHUNK:
            return


async def sums_until(connection: Connection, key: Key, until: datetime) -> list[Sum]:
    """What all entries that count by an instant changed, by currency and kind."""
    return [
        Sum(row[0], Kind(row[1]), (row[2], row[3], row[4], row[5]), row[6], row[7], row[8])
        for row in await connection.fetch(_SUMS, *key, until)
    ]


async def link_of(connection: Connection, key: Key, sequence: int) -> Key | None:
    """Where an entry LINKED leads; None for any other entry."""
    row = await connection.fetchrow(_LINK, *key, sequence)
    if row is None or row[0] != Kind.LINKED or row[2] is None:
        return None
    return row[1], row[2]


async def revision_at(connection: Connection, program: int, instant: datetime) -> int | None:
    """The revision in force at an instant; None before there was one."""
    revision: int | None = await connection.fetchval(_REVISION, program, instant)
    return revision

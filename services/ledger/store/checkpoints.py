"""What a checkpoint is made of, and what the database remembers of the last one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import Column, Table, Text, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from chassis.database import Connection
from services.ledger.domain.checkpoints import Leaf, LeafKind, revision_digest
from services.ledger.store.tables import METADATA, Transaction

PREFETCH = 200

_LAST = "checkpoint"

_FACT = Table(
    "fact", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False)
)

# Long readings of few rows a time; the usual limits are for calls that somebody waits for.
_PATIENCE = (
    "SET LOCAL statement_timeout = '15min'",
    "SET LOCAL lock_timeout = '15min'",
    "SET LOCAL idle_in_transaction_session_timeout = '15min'",
)

_HEADS = """
SELECT sequence FROM head ORDER BY bucket
"""

# The last posting of each account in a stretch of a bucket's stream, and the digest of its last
# entry.
_ACCOUNTS = """
SELECT p.account, p.last, e.digest
FROM (
    SELECT DISTINCT ON (account) account, first_entry + entry_count - 1 AS last
    FROM posting
    WHERE bucket = $1 AND sequence > $2 AND sequence <= $3
    ORDER BY account, sequence DESC
) p
LEFT JOIN entry e ON e.bucket = $1 AND e.account = p.account AND e.sequence = p.last
ORDER BY p.account
"""

_REVISIONS = """
SELECT c.program, c.revision, r.record_time, r.actor, r.reason, r.config::text
FROM (
    SELECT DISTINCT program, revision FROM program_change
    WHERE bucket = $1 AND sequence > $2 AND sequence <= $3
) c
LEFT JOIN program_revision r ON r.program = c.program AND r.revision = c.revision
ORDER BY c.program, c.revision
"""

_CHANGES = """
SELECT (SELECT count(*) FROM posting WHERE bucket = $1 AND sequence > $2 AND sequence <= $3)
    + (SELECT count(*) FROM program_change WHERE bucket = $1 AND sequence > $2 AND sequence <= $3)
    + (SELECT count(*) FROM erasure WHERE bucket = $1 AND sequence > $2 AND sequence <= $3)
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The last checkpoint that this database knows of: its number and its line's hash."""

    number: int
    hash: bytes


async def lock_last(connection: Transaction) -> Remembered | None:
    """What is remembered of the last checkpoint, locked until commit: one process makes one.

    The lock may be held long.
    """
    for statement in _PATIENCE:
        await connection.execute(text(statement))
    empty = insert_or(_FACT).values(name=_LAST, value="").on_conflict_do_nothing()
    await connection.execute(empty)
    locking = select(_FACT.c.value).where(_FACT.c.name == _LAST).with_for_update()
    value = str((await connection.execute(locking)).scalar_one())
    if not value:
        return None
    number, _, digest = value.partition(" ")
    return Remembered(int(number), bytes.fromhex(digest))


async def remember_last(connection: Transaction, last: Remembered) -> None:
    """Remember a checkpoint as the last one."""
    value = f"{last.number} {last.hash.hex()}"
    await connection.execute(update(_FACT).where(_FACT.c.name == _LAST).values(value=value))


async def be_patient(connection: Connection) -> None:
    """Let this transaction take long: it reads much, a part at a time."""
    await connection.execute(";".join(_PATIENCE))


async def read_heads(connection: Connection) -> tuple[int, ...]:
    """The last sequence of each bucket's stream, by bucket."""
    return tuple(row[0] for row in await connection.fetch(_HEADS))


async def leaves(
    connection: Connection, bucket: int, after: int, until: int
) -> AsyncIterator[Leaf]:
    """The leaves of a stretch of a bucket's stream, in their order; read a part at a time."""
    cursor = connection.cursor(_ACCOUNTS, bucket, after, until, prefetch=PREFETCH)
    async for row in cursor:
        yield Leaf(LeafKind.ACCOUNT, row[0], row[1], row[2] or b"")
    for row in await connection.fetch(_REVISIONS, bucket, after, until):
        digest = b"" if row[2] is None else revision_digest(*row[2:])
        yield Leaf(LeafKind.REVISION, row[0], row[1], digest)


async def missing_changes(connection: Connection, bucket: int, after: int, until: int) -> int:
    """How many changes of a stretch are not in the tables, where each number is one change."""
    there: int = await connection.fetchval(_CHANGES, bucket, after, until)
    return until - after - there

"""Sums over whole programs. They run in one snapshot, for as long as their caller waits."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool
from chassis.refusals import DeadlinePassed
from services.ledger.domain.account import Balance

REDEMPTION_ACCOUNTS = 2_000

Position = tuple[int, int, int]
"""(account, bucket, sequence of an entry)."""

# So much memory for each table that is hashed; what needs more is done in parts, on disk.
_AS_REPORT = """
SELECT set_config('statement_timeout', $1, true), set_config('work_mem', '16MB', true)
"""

# Whether one in twenty accounts at least is the program's; never more of them are looked at.
_LARGE = """
WITH part AS (
    SELECT greatest(reltuples, 0)::bigint / 20 AS most FROM pg_class WHERE oid = 'account'::regclass
)
SELECT count(*) > (SELECT most FROM part) FROM (
    SELECT FROM account WHERE program = $1 LIMIT (SELECT most + 1 FROM part)
) a
"""
_BUCKETS_MATCH = re.compile(r"(\w+)\.bucket = (\w+)\.bucket")

# One row an account and currency: balances, lots, entries by their changes and by their kinds.
_BOOKS = """
WITH lots AS (
    SELECT l.bucket, l.account, l.currency,
        coalesce(sum(l.free) FILTER (WHERE NOT l.pending), 0) AS available,
        coalesce(sum(l.free) FILTER (WHERE l.pending), 0) AS pending,
        sum(l.held) AS held
    FROM account a JOIN lot l ON l.bucket = a.bucket AND l.account = a.id
    WHERE a.program = $1
    GROUP BY l.bucket, l.account, l.currency
), entries AS (
    SELECT e.bucket, e.account, e.currency,
        sum(e.available_change) AS available, sum(e.pending_change) AS pending,
        sum(e.held_change) AS held, sum(e.debt_change) AS debt,
        coalesce(sum(e.points) FILTER (WHERE e.kind = 2), 0) AS earned,
        -coalesce(sum(e.points) FILTER (WHERE e.kind = 13), 0) AS earning_reversed,
        -coalesce(sum(e.points) FILTER (WHERE e.kind IN (3, 10)), 0) AS redeemed,
        coalesce(sum(e.points) FILTER (WHERE e.kind = 14), 0) AS redemption_restored,
        -coalesce(sum(e.points) FILTER (WHERE e.kind = 7), 0) AS expired,
        coalesce(sum(e.points) FILTER (WHERE e.kind = 4), 0) AS adjusted_in,
        -coalesce(sum(e.points) FILTER (WHERE e.kind = 5), 0) AS adjusted_out,
        coalesce(sum(e.points) FILTER (
            WHERE e.kind = 17 OR (e.kind IN (22, 23) AND e.points > 0)
        ), 0) AS transferred_in,
        -coalesce(sum(e.points) FILTER (
            WHERE e.kind = 16 OR (e.kind IN (22, 23) AND e.points < 0)
        ), 0) AS transferred_out
    FROM account a JOIN entry e ON e.bucket = a.bucket AND e.account = a.id
    WHERE a.program = $1 AND e.currency IS NOT NULL
    GROUP BY e.bucket, e.account, e.currency
), balances AS (
    SELECT b.*
    FROM account a JOIN balance b ON b.bucket = a.bucket AND b.account = a.id
    WHERE a.program = $1
), books AS (
    SELECT bucket, account, currency, {columns}, {differs} AS differs
    FROM balances b
    FULL JOIN entries e USING (bucket, account, currency)
    FULL JOIN lots l USING (bucket, account, currency)
)
"""
_FOUR = ("available", "pending", "held", "debt")
_TOTALS = (
    *("earned", "earning_reversed", "redeemed", "redemption_restored", "expired"),
    *("adjusted_in", "adjusted_out", "transferred_in", "transferred_out"),
)
_SIDES = {"b": (*_FOUR, *_TOTALS), "e": (*_FOUR, *_TOTALS), "l": _FOUR[:3]}
_COLUMNS = [f"{side}_{name}" for side, names in _SIDES.items() for name in names]


def _row(side: str, names: Sequence[str]) -> str:
    return f"({', '.join(f'coalesce({side}.{name}, 0)' for name in names)})"


_BOOKS = _BOOKS.format(
    columns=", ".join(
        f"coalesce({side}.{name}, 0) AS {side}_{name}"
        for side, names in _SIDES.items()
        for name in names
    ),
    differs=f"""({_row("b", _SIDES["b"])} <> {_row("e", _SIDES["e"])}
        OR {_row("b", _SIDES["l"])} <> {_row("l", _SIDES["l"])})""",
)

_CONTROL_TOTALS = f"""
{_BOOKS}
SELECT o.currency, {", ".join(f"sum(o.{column})" for column in _COLUMNS)},
    count(*) FILTER (WHERE o.differs)
FROM books o
GROUP BY o.currency
ORDER BY o.currency
"""

_DIFFERING = f"""
{_BOOKS}
SELECT o.currency, {", ".join(f"o.{column}" for column in _COLUMNS)}, 1, d.member
FROM books o
JOIN account a ON a.bucket = o.bucket AND a.id = o.account
LEFT JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
WHERE o.differs
ORDER BY a.id, o.currency
LIMIT $2
"""

_COUNTS = """
WITH accounts AS MATERIALIZED (
    SELECT bucket, id, sequence FROM account WHERE program = $1
)
SELECT (SELECT count(*) FROM accounts),
    (SELECT coalesce(sum(sequence), 0) FROM accounts),
    (SELECT count(*) FROM accounts a JOIN entry e ON e.bucket = a.bucket AND e.account = a.id),
    (SELECT count(*) FROM posting WHERE program = $1),
    (SELECT coalesce(sum(entry_count), 0) FROM posting WHERE program = $1)
"""

# Sequences of a bucket have no gaps, so that its head says how many changes there are.
_STREAMS = """
SELECT h.bucket, h.sequence, coalesce(p.count, 0) + coalesce(c.count, 0) + coalesce(e.count, 0)
FROM head h
LEFT JOIN (SELECT bucket, count(*) FROM posting GROUP BY bucket) p USING (bucket)
LEFT JOIN (SELECT bucket, count(*) FROM program_change GROUP BY bucket) c USING (bucket)
LEFT JOIN (SELECT bucket, count(*) FROM erasure GROUP BY bucket) e USING (bucket)
WHERE h.sequence <> coalesce(p.count, 0) + coalesce(c.count, 0) + coalesce(e.count, 0)
ORDER BY h.bucket
"""

_REDEMPTIONS = """
WITH accounts AS MATERIALIZED (
    SELECT bucket, id, person FROM account
    WHERE program = $1 AND (id, bucket) >= ($2, $9)
    ORDER BY id, bucket LIMIT $6
)
SELECT a.id, e.sequence, d.member, e.bucket, e.posting, e.kind, e.record_time, e.effective_time,
    e.currency, e.points, p.reference, coalesce(q.revision, p.revision), e.related
FROM accounts a
JOIN entry e ON e.bucket = a.bucket AND e.account = a.id
JOIN posting p ON p.bucket = e.bucket AND p.sequence = e.posting
LEFT JOIN entry r ON e.kind = 14 AND r.bucket = e.bucket AND r.account = e.account
    AND r.sequence = e.related
LEFT JOIN posting q ON q.bucket = r.bucket AND q.sequence = r.posting
LEFT JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
WHERE e.kind IN (3, 10, 14) AND e.record_time >= $4 AND e.record_time < $5
    AND ((a.id, a.bucket) <> ($2, $9) OR e.sequence > $3)
    AND ($8::smallint IS NULL OR e.currency = $8)
ORDER BY a.id, a.bucket, e.sequence
LIMIT $7
"""

_ACCOUNT_AFTER = """
SELECT id, bucket FROM account WHERE program = $1 AND (id, bucket) >= ($2, $3)
ORDER BY id, bucket OFFSET $4 LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Books:
    """The numbers of one currency: balance with running totals, the same by entries, and lots.

    `count` is in how many accounts they differ, or of one account 1; `member` is its member.
    """

    currency: int
    balance: Balance
    entry: Balance
    lot: tuple[int, int, int]
    count: int
    member: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many accounts, entries and postings there are, and how many entries are counted."""

    accounts: int
    account_entries: int
    entries: int
    postings: int
    posting_entries: int


@dataclass(frozen=True, slots=True)
class RedemptionRow:
    """An entry that redeemed points or gave them back; `revision` is that of the redemption."""

    account: int
    sequence: int
    member: str | None
    bucket: int
    posting: int
    kind: int
    record_time: datetime
    effective_time: datetime
    currency: int
    points: int
    reference: str
    revision: int
    related: int | None


@asynccontextmanager
async def snapshot(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """One snapshot to read in, whose statements may take so long; then DEADLINE_PASSED."""
    try:
        async with (
            pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.fetchval(_AS_REPORT, str(max(1, int(seconds * 1000))))
            yield connection
    except asyncpg.QueryCanceledError:
        raise DeadlinePassed from None


async def suited(connection: Connection, program: int, statement: str) -> str:
    """The statement as it is best run for a program: with a large one's tables read whole.

    The planner takes account and bucket for independent of each other, expects a small part of the
    rows, and would look for them one by one. Of a function it expects little.
    """
    if await connection.fetchval(_LARGE, program):
        return _BUCKETS_MATCH.sub(r"int4eq(\1.bucket, \2.bucket)", statement)
    return statement


async def control_totals(connection: Connection, program: int) -> list[Books]:
    """The sums of a program by currency."""
    statement = await suited(connection, program, _CONTROL_TOTALS)
    return [_books(tuple(row)) for row in await connection.fetch(statement, program)]


async def differing(connection: Connection, program: int, limit: int) -> list[Books]:
    """The first accounts whose numbers differ, one row a currency."""
    rows = await connection.fetch(await suited(connection, program, _DIFFERING), program, limit)
    return [_books(tuple(row), row[-1] or "") for row in rows]


async def counts(connection: Connection, program: int) -> Counts:
    """How many of everything a program has."""
    row = await connection.fetchrow(_COUNTS, program)
    assert row is not None
    return Counts(row[0], int(row[1]), row[2], row[3], int(row[4]))


async def gaps(connection: Connection) -> list[tuple[int, int, int]]:
    """Buckets whose head says another number than there are changes: bucket, head, changes."""
    return [(row[0], row[1], row[2]) for row in await connection.fetch(_STREAMS)]


async def redemptions(
    connection: Connection,
    program: int,
    after: Position,
    between: tuple[datetime, datetime],
    currency: int | None,
    limit: int,
) -> tuple[list[RedemptionRow], Position | None]:
    """At most `limit` rows after a position, and where to go on; None at the end.

    A call looks at a few thousand accounts, so that it may find fewer, or none.
    """
    account, bucket, sequence = after
    rows = await connection.fetch(
        _REDEMPTIONS,
        *(program, account, sequence, *between, REDEMPTION_ACCOUNTS, limit, currency, bucket),
    )
    found = [RedemptionRow(*row) for row in rows]
    if len(found) == limit:
        return found, (found[-1].account, found[-1].bucket, found[-1].sequence)
    following = await connection.fetchrow(
        _ACCOUNT_AFTER, program, account, bucket, REDEMPTION_ACCOUNTS
    )
    return found, None if following is None else (following[0], following[1], 0)


def _books(row: tuple[Any, ...], member: str = "") -> Books:
    """From a row of a currency, `_COLUMNS`, and how many accounts differ."""
    numbers = [int(value) for value in row[1 : 2 + len(_COLUMNS)]]
    whole = len(_SIDES["b"])
    available, pending, held = numbers[2 * whole : 2 * whole + 3]
    return Books(
        currency=row[0],
        balance=Balance(*numbers[:whole]),
        entry=Balance(*numbers[whole : 2 * whole]),
        lot=(available, pending, held),
        count=numbers[-1],
        member=member,
    )

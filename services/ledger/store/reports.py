"""Sums over whole programs. They run in one snapshot, for as long as their caller waits."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import asyncpg

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool
from chassis.refusals import DeadlinePassed
from services.ledger.domain.account import Balance

REDEMPTION_ACCOUNTS = 2_000

Position = tuple[int, int, int]
"""(account, bucket, sequence of an entry)."""

_TIMEOUT = "SELECT set_config('statement_timeout', $1, true)"

# When a lot expires as things stand; nobody's points are left out.
_EXPIRES = """
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN l.expiry_kind = 3 THEN (
            greatest(l.mature_time, a.last_activity_time) AT TIME ZONE $2
            + make_interval(months => l.inactivity_months::int)
        ) AT TIME ZONE $2
        ELSE l.expire_time
    END AS expires
) x
"""

_OUTSTANDING = f"""
SELECT l.currency,
    date_trunc('month', l.earn_time AT TIME ZONE $2)::date,
    date_trunc('month', (x.expires - interval '1 microsecond') AT TIME ZONE $2)::date,
    coalesce(sum(l.free) FILTER (
        WHERE (NOT l.pending OR l.mature_time <= $3) AND (x.expires IS NULL OR x.expires > $3)
    ), 0),
    coalesce(sum(l.free) FILTER (WHERE l.pending AND l.mature_time > $3), 0),
    sum(l.held),
    count(*)
FROM account a
JOIN lot l ON l.bucket = a.bucket AND l.account = a.id AND l.open
{_EXPIRES}
WHERE a.program = $1 AND a.state <> 3
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3 NULLS LAST
"""

_DEBTS = """
SELECT b.currency, sum(b.debt),
    count(*) FILTER (WHERE b.available + b.pending + b.held + b.debt > 0)
FROM account a JOIN balance b ON b.bucket = a.bucket AND b.account = a.id
WHERE a.program = $1 AND a.state <> 3
GROUP BY b.currency
"""

# Earnings only, those that can expire, by month of earning.
_VINTAGES = """
SELECT l.currency, date_trunc('month', l.earn_time AT TIME ZONE $2)::date,
    sum(l.points), sum(l.expired), bool_or(l.open)
FROM account a
JOIN lot l ON l.bucket = a.bucket AND l.account = a.id
JOIN entry e ON e.bucket = l.bucket AND e.account = l.account AND e.sequence = l.sequence
WHERE a.program = $1 AND l.expiry_kind <> 1 AND e.kind = 2
GROUP BY 1, 2
ORDER BY 1, 2
"""

# One row an account and currency: balances, lots, entries by their changes and by their kinds.
_BOOKS = """
WITH accounts AS MATERIALIZED (
    SELECT bucket, id FROM account WHERE program = $1
), lots AS (
    SELECT l.bucket, l.account, l.currency,
        coalesce(sum(l.free) FILTER (WHERE NOT l.pending), 0) AS available,
        coalesce(sum(l.free) FILTER (WHERE l.pending), 0) AS pending,
        sum(l.held) AS held
    FROM accounts a JOIN lot l ON l.bucket = a.bucket AND l.account = a.id
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
    FROM accounts a JOIN entry e ON e.bucket = a.bucket AND e.account = a.id
    WHERE e.currency IS NOT NULL
    GROUP BY e.bucket, e.account, e.currency
), balances AS (
    SELECT b.* FROM accounts a JOIN balance b ON b.bucket = a.bucket AND b.account = a.id
), books AS (
    SELECT bucket, account, currency,
        ARRAY[
            coalesce(b.available, 0), coalesce(b.pending, 0), coalesce(b.held, 0),
            coalesce(b.debt, 0), coalesce(b.earned, 0), coalesce(b.earning_reversed, 0),
            coalesce(b.redeemed, 0), coalesce(b.redemption_restored, 0), coalesce(b.expired, 0),
            coalesce(b.adjusted_in, 0), coalesce(b.adjusted_out, 0),
            coalesce(b.transferred_in, 0), coalesce(b.transferred_out, 0)
        ]::numeric[] AS balance,
        ARRAY[
            coalesce(e.available, 0), coalesce(e.pending, 0), coalesce(e.held, 0),
            coalesce(e.debt, 0), coalesce(e.earned, 0), coalesce(e.earning_reversed, 0),
            coalesce(e.redeemed, 0), coalesce(e.redemption_restored, 0), coalesce(e.expired, 0),
            coalesce(e.adjusted_in, 0), coalesce(e.adjusted_out, 0),
            coalesce(e.transferred_in, 0), coalesce(e.transferred_out, 0)
        ]::numeric[] AS entry,
        ARRAY[coalesce(l.available, 0), coalesce(l.pending, 0), coalesce(l.held, 0)]::numeric[]
            AS lot
    FROM balances b
    FULL JOIN entries e USING (bucket, account, currency)
    FULL JOIN lots l USING (bucket, account, currency)
)
"""


def _sums(column: str, count: int) -> str:
    return f"ARRAY[{', '.join(f'sum(o.{column}[{place}])' for place in range(1, count + 1))}]"


_CONTROL_TOTALS = f"""
{_BOOKS}
SELECT o.currency, {_sums("balance", 13)}, {_sums("entry", 13)}, {_sums("lot", 3)},
    count(*) FILTER (WHERE o.balance <> o.entry OR o.balance[1:3] <> o.lot)
FROM books o
GROUP BY o.currency
ORDER BY o.currency
"""

_DIFFERING = f"""
{_BOOKS}
SELECT d.member, o.currency, o.balance, o.entry, o.lot
FROM books o
JOIN account a ON a.bucket = o.bucket AND a.id = o.account
LEFT JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
WHERE o.balance <> o.entry OR o.balance[1:3] <> o.lot
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
class OutstandingRow:
    """Points of one currency earned in one month that expire in one month (None: never)."""

    currency: int
    earned: date
    expires: date | None
    available: int
    pending: int
    held: int
    lots: int


@dataclass(frozen=True, slots=True)
class VintageRow:
    """What was earned in one month and can expire, how much of it did, and whether any is left."""

    currency: int
    earned: date
    points: int
    expired: int
    open: bool


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
            await connection.execute(_TIMEOUT, str(max(1, int(seconds * 1000))))
            yield connection
    except asyncpg.QueryCanceledError:
        raise DeadlinePassed from None


async def outstanding(
    connection: Connection, program: int, zone: str, now: datetime
) -> list[OutstandingRow]:
    """Points outstanding as of now, by currency, month of earning and month of expiry."""
    rows = await connection.fetch(_OUTSTANDING, program, zone, now)
    return [
        OutstandingRow(row[0], row[1], row[2], int(row[3]), int(row[4]), int(row[5]), row[6])
        for row in rows
    ]


async def debts(connection: Connection, program: int) -> dict[int, tuple[int, int]]:
    """By currency: what is owed by members, and how many accounts have anything."""
    rows = await connection.fetch(_DEBTS, program)
    return {row[0]: (int(row[1]), row[2]) for row in rows}


async def vintages(connection: Connection, program: int, zone: str) -> list[VintageRow]:
    """What was ever earned and can expire, by currency and month of earning."""
    rows = await connection.fetch(_VINTAGES, program, zone)
    return [VintageRow(row[0], row[1], int(row[2]), int(row[3]), row[4]) for row in rows]


async def control_totals(connection: Connection, program: int) -> list[Books]:
    """The sums of a program by currency."""
    rows = await connection.fetch(_CONTROL_TOTALS, program)
    return [_books(row[0], row[1], row[2], row[3], row[4]) for row in rows]


async def differing(connection: Connection, program: int, limit: int) -> list[Books]:
    """The first accounts whose numbers differ, one row a currency."""
    rows = await connection.fetch(_DIFFERING, program, limit)
    return [_books(row[1], row[2], row[3], row[4], 1, row[0] or "") for row in rows]


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


def _books(
    currency: int,
    balance: Sequence[Decimal],
    entry: Sequence[Decimal],
    lot: Sequence[Decimal],
    count: int,
    member: str = "",
) -> Books:
    available, pending, held = (int(value) for value in lot)
    return Books(
        currency=currency,
        balance=Balance(*(int(value) for value in balance)),
        entry=Balance(*(int(value) for value in entry)),
        lot=(available, pending, held),
        count=count,
        member=member,
    )

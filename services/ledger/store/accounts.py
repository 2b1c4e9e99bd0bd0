"""Accounts and what belongs to them, loaded for folding and for reading."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from chassis.database import Connection
from services.ledger.domain.account import Account, AccountKind, Balance, Link, Lot, State
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.counters import DAYS

Key = tuple[int, int]
CounterRange = tuple[int, int, int, int, int]


@dataclass(slots=True)
class Loaded:
    """An account and where its program stands. `clock` is a sandbox's now."""

    account: Account
    program: int
    revision: int
    clock: datetime | None
    posted: bool


ACCOUNT_COLUMNS = """
    a.bucket, a.id, a.program, a.state, a.sandbox, a.version, a.sequence, a.digest, a.enrol_time,
    a.record_time, a.last_activity_time, a.next_due_time, p.revision, p.clock, p.posted,
    a.kind, a.link, a.link_bucket, a.link_account, a.elsewhere, a.billing_day
"""

ACCOUNT_WIDTH = 21

# One statement locks all accounts of a transaction in key order, so that no two transactions wait
# for each other.
_LOCK = f"""
SELECT {ACCOUNT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
JOIN account a ON a.bucket = k.bucket AND a.id = k.id
JOIN program p ON p.key = a.program
ORDER BY a.bucket, a.id
FOR NO KEY UPDATE OF a
"""

_READ = f"""
SELECT {ACCOUNT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
JOIN account a ON a.bucket = k.bucket AND a.id = k.id
JOIN program p ON p.key = a.program
"""

# One statement, so that an account and its balances are of one instant.
_READ_WHOLE = f"""
SELECT {ACCOUNT_COLUMNS}, b.currency, b.available, b.pending, b.held, b.debt, b.earned,
    b.earning_reversed, b.redeemed, b.redemption_restored, b.expired, b.adjusted_in,
    b.adjusted_out, b.transferred_in, b.transferred_out
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
JOIN account a ON a.bucket = k.bucket AND a.id = k.id
JOIN program p ON p.key = a.program
LEFT JOIN balance b ON b.bucket = a.bucket AND b.account = a.id
"""

LOT_COLUMNS = """l.bucket, l.account, l.sequence, l.id, l.currency, l.points, l.free, l.held,
    l.pending, l.earn_time, l.mature_time, l.expire_time, l.expiry_kind, l.inactivity_months,
    l.posting"""

# Here and below `OFFSET 0` has the table looked up key by key: while a table's index is one page, a
# plan would read all of it and compare each row with all keys, and be kept when it has grown.
_OPEN_LOTS = f"""
SELECT {LOT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT * FROM lot o WHERE o.bucket = k.bucket AND o.account = k.account AND o.open OFFSET 0
) l
"""

# In the order in which points are spent, as many lots as it takes; all of them where some move with
# the member's activity (3 is ExpiryKind.INACTIVITY) and the order is not told by a column.
_FIRST_LOTS = f"""
SELECT {LOT_COLUMNS}
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, account, points)
CROSS JOIN LATERAL (
    SELECT o.*, bool_or(o.expiry_kind = 3) OVER () AS moving, sum(o.free) OVER (
        PARTITION BY o.currency ORDER BY o.expire_time NULLS LAST, o.earn_time, o.sequence
    ) - o.free AS before
    FROM lot o
    WHERE o.bucket = k.bucket AND o.account = k.account AND o.open AND NOT o.pending
) l
WHERE l.moving OR l.before < k.points
"""

# The months of a counter from a first to a last one, for every k.
_MONTHS = """CROSS JOIN LATERAL (
    SELECT * FROM counter m
    WHERE m.bucket = k.bucket AND m.account = k.account AND m.counter = k.counter
        AND m.month BETWEEN k.first AND k.last
    OFFSET 0
) c"""

_COUNTERS = f"""
SELECT c.bucket, c.account, c.counter, c.month, c.days
FROM (
    SELECT DISTINCT * FROM unnest($1::int[], $2::bigint[], $3::smallint[], $4::int[], $5::int[])
        AS u (bucket, account, counter, first, last)
) k
{_MONTHS}
"""

# Balances, months of counters and recorded requests in one round trip: rows of one shape, told
# apart by `part`. What another member asked for in this account is not this one's request.
_WORKING = f"""
SELECT 0 AS part, b.bucket, b.account, b.currency AS number, NULL::int AS month,
    ARRAY[
        b.available, b.pending, b.held, b.debt, b.earned, b.earning_reversed, b.redeemed,
        b.redemption_restored, b.expired, b.adjusted_in, b.adjusted_out, b.transferred_in,
        b.transferred_out
    ] AS numbers,
    NULL::text AS request_id, NULL::bytea AS digest, NULL::bigint AS sequence,
    NULL::timestamptz AS record_time
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT * FROM balance o WHERE o.bucket = k.bucket AND o.account = k.account OFFSET 0
) b
UNION ALL
SELECT 1, c.bucket, c.account, c.counter, c.month, c.days, NULL, NULL, NULL, NULL
FROM unnest($3::int[], $4::bigint[], $5::smallint[], $6::int[], $7::int[])
    AS k (bucket, account, counter, first, last)
{_MONTHS}
UNION ALL
SELECT 2, p.bucket, p.account, NULL, NULL, NULL, p.request_id, p.request_digest, p.sequence,
    p.record_time
FROM unnest($8::int[], $9::bigint[], $10::text[]) AS k (bucket, account, request_id)
CROSS JOIN LATERAL (
    SELECT * FROM posting o
    WHERE o.bucket = k.bucket AND o.account = k.account AND o.request_id = k.request_id
        AND o.addressee IS NULL
    OFFSET 0
) p
"""

# The same, and the heads of the streams are locked with it, in order.
_WORKING_AND_HEADS = f"""
WITH locked AS MATERIALIZED (
    SELECT bucket, sequence FROM head WHERE bucket = ANY($11::int[])
    ORDER BY bucket FOR NO KEY UPDATE
)
{_WORKING}
UNION ALL
SELECT 3, bucket, NULL, NULL, NULL, NULL, NULL, NULL, sequence, NULL FROM locked
"""


def _columns(keys: Iterable[Key]) -> tuple[list[int], list[int]]:
    pairs = list(keys)
    return [bucket for bucket, _ in pairs], [account for _, account in pairs]


def loaded_of(row: asyncpg.Record) -> Loaded:
    """An account from a row that begins with `ACCOUNT_COLUMNS`."""
    account = Account(
        bucket=row[0],
        id=row[1],
        program=row[2],
        member="",
        state=State(row[3]),
        sandbox=row[4],
        version=row[5],
        sequence=row[6],
        digest=row[7],
        enrol_time=row[8],
        record_time=row[9],
        last_activity_time=row[10],
        next_due_time=row[11],
        enrolled=row[6] > 0,
        elsewhere=row[19],
        billing_day=row[20],
    )
    if row[15] != AccountKind.PERSON:
        account.kind = AccountKind(row[15])
    if row[16] is not None:
        account.link, account.link_to = Link(row[16]), (row[17], row[18])
    return Loaded(account, row[2], row[12], row[13], row[14])


async def lock(connection: Connection, keys: Iterable[Key]) -> dict[Key, Loaded]:
    """Lock accounts and load their rows; what belongs to them must be read by later statements."""
    rows = await connection.fetch(_LOCK, *_columns(keys))
    return {(row[0], row[1]): loaded_of(row) for row in rows}


async def read(connection: Connection, keys: Iterable[Key]) -> dict[Key, Loaded]:
    """Load accounts' rows without a lock."""
    rows = await connection.fetch(_READ, *_columns(keys))
    return {(row[0], row[1]): loaded_of(row) for row in rows}


async def read_whole(connection: Connection, keys: Iterable[Key]) -> dict[Key, Loaded]:
    """Load accounts' rows with their balances, as of one instant, without a lock."""
    loaded: dict[Key, Loaded] = {}
    for row in await connection.fetch(_READ_WHOLE, *_columns(keys)):
        key = (row[0], row[1])
        if key not in loaded:
            loaded[key] = loaded_of(row)
        if row[ACCOUNT_WIDTH] is not None:
            loaded[key].account.balances[row[ACCOUNT_WIDTH]] = Balance(*row[ACCOUNT_WIDTH + 1 :])
    return loaded


def lot_of(row: asyncpg.Record) -> Lot:
    """A lot from a row of `LOT_COLUMNS`."""
    return Lot(
        sequence=row[2],
        id=row[3],
        currency=row[4],
        points=row[5],
        free=row[6],
        held=row[7],
        pending=row[8],
        earn_time=row[9],
        mature_time=row[10],
        expire_time=row[11],
        expiry_kind=ExpiryKind(row[12]),
        inactivity_months=row[13],
        posting=row[14],
    )


async def load_open_lots(
    connection: Connection, accounts: dict[Key, Loaded], keys: Iterable[Key]
) -> None:
    """Load the lots of some accounts that have points left."""
    for row in await connection.fetch(_OPEN_LOTS, *_columns(keys)):
        accounts[row[0], row[1]].account.lots[row[2]] = lot_of(row)


async def load_first_lots(
    connection: Connection, accounts: dict[Key, Loaded], points: Mapping[Key, int]
) -> None:
    """Load the open lots of some accounts from which so many points would be spent first."""
    rows = await connection.fetch(_FIRST_LOTS, *_columns(points), list(points.values()))
    for row in rows:
        accounts[row[0], row[1]].account.lots[row[2]] = lot_of(row)


async def load_counters(
    connection: Connection, accounts: dict[Key, Loaded], ranges: Sequence[CounterRange]
) -> None:
    """Load counters' months: (bucket, account, counter, first month, last month)."""
    columns = [list(column) for column in zip(*ranges, strict=True)]
    for row in await connection.fetch(_COUNTERS, *columns):
        accounts[row[0], row[1]].account.counters[row[2], row[3]] = whole_month(row[4])


def whole_month(days: list[int]) -> list[int]:
    """A counter's month as it is folded: the days that were left out at its end are zeros."""
    return days + [0] * (DAYS - len(days))


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request id that is recorded: the digest of its request, and where its posting is.

    `bucket` is that of the posting where it is in another account.
    """

    digest: bytes
    sequence: int
    record_time: datetime
    bucket: int | None = None


Request = tuple[int, int, str]
"""(bucket, account, request id)."""


async def load_working(
    connection: Connection,
    accounts: dict[Key, Loaded],
    ranges: Collection[CounterRange],
    requests: Sequence[Request],
    heads: dict[int, int] | None = None,
) -> dict[Request, SeenRequest]:
    """Load the balances of accounts and months of counters; answer which requests are recorded.

    A counter's range is (bucket, account, counter, first month, last month); no range twice. Where
    `heads` is given, the heads of the accounts' buckets are locked until commit and put there.
    """
    lock = () if heads is None else (sorted({bucket for bucket, _ in accounts}),)
    rows = await connection.fetch(
        _WORKING if heads is None else _WORKING_AND_HEADS,
        *_columns(accounts),
        *(zip(*ranges, strict=True) if ranges else [()] * 5),
        [bucket for bucket, _, _ in requests],
        [account for _, account, _ in requests],
        [request_id for _, _, request_id in requests],
        *lock,
    )
    seen: dict[Request, SeenRequest] = {}
    for part, bucket, id_, number, month, numbers, request_id, digest, sequence, time in rows:
        if part == 0:
            accounts[bucket, id_].account.balances[number] = Balance(*numbers)
        elif part == 1:
            accounts[bucket, id_].account.counters[number, month] = whole_month(numbers)
        elif part == 3:
            assert heads is not None
            heads[bucket] = sequence
        else:
            seen[bucket, id_, request_id] = SeenRequest(digest, sequence, time)
    return seen

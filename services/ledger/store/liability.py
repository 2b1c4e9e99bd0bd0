"""What a program owes its members: sums over its lots, read once."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from chassis.database import Connection
from services.ledger.store import reports
from services.ledger.store.accounts import Key

# When a lot expires as things stand; nobody's points are left out.
_EXPIRES = """
CASE
    WHEN NOT l.open THEN NULL
    WHEN l.expiry_kind = 3 THEN (
        greatest(l.mature_time, a.last_activity_time) AT TIME ZONE $2
        + make_interval(months => l.inactivity_months::int)
    ) AT TIME ZONE $2
    ELSE l.expire_time
END
"""


def _month_of(instant: str) -> str:
    """The local month of an instant: told from the table of months, or else by the calendar."""
    return f"""coalesce(
        nullif(($5::date[])[width_bucket({instant}, $4::timestamptz[]) + 1], '-infinity'),
        date_trunc('month', {instant} AT TIME ZONE $2)::date
    )"""


# Of earnings that can expire also what history says: the month, and what became of them.
_LOTS = f"""
SELECT o.currency, {_month_of("o.earn_time")},
    {_month_of("(o.expires - interval '1 microsecond')")},
    coalesce(sum(o.free) FILTER (
        WHERE o.owed AND (NOT o.pending OR o.mature_time <= $3)
            AND (o.expires IS NULL OR o.expires > $3)
    ), 0),
    coalesce(sum(o.free) FILTER (WHERE o.owed AND o.pending AND o.mature_time > $3), 0),
    coalesce(sum(o.held) FILTER (WHERE o.owed), 0),
    count(*) FILTER (WHERE o.owed AND o.open),
    coalesce(sum(o.points) FILTER (WHERE o.earned), 0),
    coalesce(sum(o.expired) FILTER (WHERE o.earned), 0),
    bool_or(o.open) FILTER (WHERE o.earned)
FROM (
    SELECT l.currency, l.earn_time, l.mature_time, l.pending, l.open, l.free, l.held, l.points,
        l.expired, a.state <> 3 AS owed, {{earned}} AS earned, {_EXPIRES} AS expires
    FROM account a JOIN lot l ON l.bucket = a.bucket AND l.account = a.id
    {{more}}
    -- Else every instant would be computed wherever it is used.
    OFFSET 0
) o
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3 NULLS LAST
"""
_OUTSTANDING = _LOTS.format(earned="false", more="WHERE a.program = $1 AND l.open")
# A lot is of the kind of the entry that made it, and most are earned.
_ALL_LOTS = _LOTS.format(
    earned="l.expiry_kind <> 1 AND e.kind IS NULL",
    more="""LEFT JOIN entry e ON e.bucket = l.bucket AND e.account = l.account
        AND e.sequence = l.sequence AND e.kind <> 2
    WHERE a.program = $1""",
)

_DEBTS = """
SELECT b.currency, sum(b.debt),
    count(*) FILTER (WHERE b.available + b.pending + b.held + b.debt > 0)
FROM account a JOIN balance b ON b.bucket = a.bucket AND b.account = a.id
WHERE a.program = $1 AND a.state <> 3
GROUP BY b.currency
"""

# Where something is owed or held, points that mature, come back or expire may go elsewhere.
_ENTANGLED = """
SELECT a.bucket, a.id FROM account a
WHERE a.program = $1 AND a.next_due_time <= $2 AND EXISTS (
    SELECT FROM balance b
    WHERE b.bucket = a.bucket AND b.account = a.id AND (b.debt > 0 OR b.held > 0)
)
ORDER BY a.bucket, a.id LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class LotsRow:
    """Lots of one currency earned in one month that expire in one month (None: never, or all gone).

    `available`, `pending` and `held` are what is owed, in so many `lots`. `points` were earned and
    could expire, so many of them `expired`, and some of them are `left`.
    """

    currency: int
    earned: date
    expires: date | None
    available: int
    pending: int
    held: int
    lots: int
    points: int
    expired: int
    left: bool


# Months this far from now are told from a table; local time is nowhere a day away from UTC.
_MONTHS = 600
_DAY = timedelta(days=1)


def month_table(now: datetime) -> tuple[list[datetime], list[date]]:
    """Instants between which the local month is known whatever the zone, and the months.

    In a stretch around the beginning of a month it is not: there, and beyond the ends, the month
    is the smallest date.
    """
    edges: list[datetime] = []
    months = [date.min]
    first = now.year * 12 + now.month - 1 - _MONTHS
    for number in range(first, first + 2 * _MONTHS):
        month = date(number // 12, number % 12 + 1, 1)
        begins = datetime(month.year, month.month, 1, tzinfo=UTC)
        edges += [begins - _DAY, begins + _DAY]
        months += [date.min, month]
    months[-1] = date.min
    return edges, months


async def lots(
    connection: Connection, program: int, zone: str, now: datetime, *, history: bool
) -> list[LotsRow]:
    """Lots as of now, by currency and the months of earning and of expiry.

    With `history` closed ones too, of which only `points`, `expired` and `left` tell.
    """
    statement = await reports.suited(connection, program, _ALL_LOTS if history else _OUTSTANDING)
    rows = await connection.fetch(statement, program, zone, now, *month_table(now))
    return [
        LotsRow(
            currency=row[0],
            earned=row[1],
            expires=row[2],
            available=int(row[3]),
            pending=int(row[4]),
            held=int(row[5]),
            lots=row[6],
            points=int(row[7]),
            expired=int(row[8]),
            left=bool(row[9]),
        )
        for row in rows
    ]


async def entangled(connection: Connection, program: int, now: datetime, limit: int) -> list[Key]:
    """At most `limit` accounts of which lots alone do not tell what is so when all is posted."""
    return [(row[0], row[1]) for row in await connection.fetch(_ENTANGLED, program, now, limit)]


async def debts(connection: Connection, program: int) -> dict[int, tuple[int, int]]:
    """By currency: what is owed by members, and how many accounts have anything."""
    rows = await connection.fetch(_DEBTS, program)
    return {row[0]: (int(row[1]), row[2]) for row in rows}

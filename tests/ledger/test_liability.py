"""What a program owes, exactly: whatever is due, whichever the zone, however rows are read."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from chassis.database import Connection
from loyalty.ledger.v1 import program_pb2, report_pb2, resources_pb2
from services.ledger.store import liability as store
from services.ledger.store import reports
from testkit.postgres import TestDatabase
from tests.ledger.points_kit import START, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal
from tests.ledger.test_reports import begin, liability, reconciled
from tests.properties.effort import SEED


async def test_what_is_due_where_something_is_owed_or_held_is_posted_before(
    ledger: LedgerUnderTest,
) -> None:
    points = await begin(ledger)
    owing, holding = await points.another("owing"), await points.another("holding")
    spent = await owing.earn(100, expiry="never")
    await owing.redeem(100)
    await owing.reverse(spent.posting.posting, cause="PURCHASE_RETURNED")
    await owing.earn(70, expiry="month", mature_time=moment(START + timedelta(days=3)))
    await holding.earn(50, expiry="month")
    await holding.hold(20, expire_time=moment(START + timedelta(days=50)))
    await ledger.rows.execute("UPDATE program SET clock = $1", START + timedelta(days=5))
    await ledger.programs.GetProgram(program_pb2.GetProgramRequest(program="p"))

    in_debt = (await liability(ledger)).currencies[0]
    await ledger.rows.execute("UPDATE program SET clock = $1", START + timedelta(days=60))
    lapsed = (await liability(ledger)).currencies[0]

    assert in_debt.points == resources_pb2.Amounts(available=30, held=20, debt=30)
    # What was held comes back and is dead by then.
    assert lapsed.points == resources_pb2.Amounts(debt=30)
    assert (await reconciled(ledger)).ok


# They go forward and back in the middle of a day, at its first hour, and by a whole day.
ZONES = ("America/New_York", "America/Havana", "Pacific/Apia", "Asia/Kathmandu", "UTC")

_BY_THE_CALENDAR = """
SELECT l.currency, date_trunc('month', l.earn_time AT TIME ZONE $1)::date,
    date_trunc('month', (x.expires - interval '1 microsecond') AT TIME ZONE $1)::date,
    sum(l.free) FILTER (
        WHERE (NOT l.pending OR l.mature_time <= $2) AND (x.expires IS NULL OR x.expires > $2)
    ), sum(l.free) FILTER (WHERE l.pending AND l.mature_time > $2), sum(l.held), count(*)
FROM account a
JOIN lot l ON l.bucket = a.bucket AND l.account = a.id
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.expiry_kind = 3 THEN (
        greatest(l.mature_time, a.last_activity_time) AT TIME ZONE $1
        + make_interval(months => l.inactivity_months::int)
    ) AT TIME ZONE $1 ELSE l.expire_time END AS expires
) x
WHERE l.open AND a.state <> 3
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 NULLS LAST
"""
_VINTAGES = """
SELECT l.currency, date_trunc('month', l.earn_time AT TIME ZONE $1)::date, sum(l.points),
    sum(l.expired), bool_or(l.open)
FROM lot l JOIN entry e USING (bucket, account, sequence)
WHERE l.expiry_kind <> 1 AND e.kind = 2 GROUP BY 1, 2 ORDER BY 1, 2
"""


async def _lots_of_all_times(
    ledger: LedgerUnderTest, dice: random.Random, zone: str, first: int
) -> None:
    """Rows of lots that are earned and expire at and around the beginnings of months."""
    rows = []
    for number in range(100):
        months = [dice.randrange(12 * 1900, 12 * 2200), *(dice.randrange(24000, 24600),) * 3]
        month = dice.choice(months)
        begins = datetime(month // 12, month % 12 + 1, 1, tzinfo=ZoneInfo(zone))
        near = timedelta(hours=dice.choice((0, 1, 24, 300)) * dice.uniform(-1, 1))
        earned = (begins + near).astimezone(UTC)
        kind = dice.randrange(1, 5)
        expires = begins + timedelta(days=dice.randrange(900)) * dice.randrange(2)
        free, held = dice.choice(((0, 0), (3, 0), (2, 5), (0, 4)))
        rows.append((
            first + number, dice.randrange(2), free, held, dice.random() < 0.2, earned,
            earned + timedelta(days=dice.randrange(3)), None if kind in {1, 3} else expires,
            kind, dice.randrange(1, 30) if kind == 3 else 0, free + held > 0,
            dice.choice((2, 4, 23)),
        ))  # fmt: skip
    await ledger.rows.executemany(
        """
        WITH made AS (
            INSERT INTO lot (bucket, account, sequence, id, currency, points, free, held, pending,
                earn_time, mature_time, expire_time, expiry_kind, inactivity_months, open, posting,
                expired)
            SELECT bucket, id, $1::bigint, gen_random_uuid(), $2, 9, $3::bigint, $4::bigint, $5, $6,
                $7, $8, $9, $10, $11, 1, 9 - $3::bigint - $4::bigint
            FROM account ORDER BY id LIMIT 1 OFFSET $1::bigint % 4
            RETURNING bucket, account, sequence
        )
        INSERT INTO entry (bucket, account, sequence, posting, kind, points, available_change,
            pending_change, held_change, debt_change, available, pending, held, debt, requested,
            effective_time, record_time, digest)
        SELECT bucket, account, sequence, 1, $12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, now(), now(), ''
        FROM made
        """,
        rows,
    )


async def _told(rows: Connection, program: int, zone: str, now: datetime) -> Any:
    """Twice what is owed, without history and with it, and the history."""
    owed: list[Any] = []
    months: dict[Any, list[int]] = {}
    for history in (False, True):
        found = await store.lots(rows, program, zone, now, history=history)
        owed.append([
            (each.currency, each.earned, each.expires, each.available, each.pending, each.held,
             each.lots)
            for each in found if each.available or each.pending or each.held
        ])  # fmt: skip
        for each in found:
            if each.points:
                before = months.get((each.currency, each.earned), [0, 0, 0])
                numbers = (each.points, each.expired, each.left)
                months[each.currency, each.earned] = list(map(add, before, numbers))
    history_rows = [(*month, *some[:2], bool(some[2])) for month, some in sorted(months.items())]
    return *owed, history_rows


async def test_months_are_those_of_the_calendar_however_the_rows_are_read(
    ledger: LedgerUnderTest, ledger_database: TestDatabase
) -> None:
    print(f"LOYALTY_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    points = await begin(ledger)
    for number in range(3):
        await (await points.another(f"m{number}")).earn(1)
    for place, zone in enumerate(ZONES):
        await _lots_of_all_times(ledger, dice, zone, 100 * (place + 1))
    last = "UPDATE account SET state = 3 WHERE id = (SELECT max(id) FROM account)"
    await ledger.rows.execute(last)
    key = await ledger.rows.fetchval("SELECT key FROM program")
    now = datetime(2026, 8, 1, tzinfo=UTC)
    expected = {}
    for zone in ZONES:
        calendar = [
            (*row[:3], row[3] or 0, row[4] or 0, row[5], row[6])
            for row in map(tuple, await ledger.rows.fetch(_BY_THE_CALENDAR, zone, now))
            if row[3] or row[4] or row[5]
        ]
        vintages = [tuple(row) for row in await ledger.rows.fetch(_VINTAGES, zone)]
        assert len(calendar) > 100
        assert len(vintages) > 100
        expected[zone] = (calendar, calendar, vintages)

    async with ledger.rows.acquire() as rows:
        for zone in ZONES:
            assert await _told(rows, key, zone, now) == expected[zone], zone
        # As one small program among large ones.
        await rows.execute(
            """
            INSERT INTO account SELECT bucket, id + n, program + 1, person + n, state, sandbox,
                version, sequence, digest, enrol_time, record_time
            FROM account, generate_series(1, 100) n
            """
        )
        owner = await asyncpg.connect(ledger_database.owner_dsn)
        await owner.execute("ANALYZE account")
        await owner.close()
        statement = "l.bucket = a.bucket"
        suited = [await reports.suited(rows, program, statement) for program in (key, key + 1)]
        assert suited == [statement, "int4eq(l.bucket, a.bucket)"]
        for zone in ZONES:
            assert await _told(rows, key, zone, now) == expected[zone], zone


async def test_reports_take_turns_and_leave_the_readers_alone(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger)
    await points.earn(7)
    asked = report_pb2.GetLiabilityRequest(program="p")
    async with ledger.rows.acquire() as rows, rows.transaction():
        await rows.execute("LOCK TABLE lot IN ACCESS EXCLUSIVE MODE")
        waiting = [
            asyncio.ensure_future(refusal(ledger.reports.GetLiability(asked, timeout=1.5)))
            for _ in range(12)
        ]
        await asyncio.sleep(0.2)
        account = await points.account()
        done = [each.done() for each in waiting]
        answers = await asyncio.gather(*waiting)

    assert account.balances[0].available == 7
    assert not any(done)
    assert {each.reason for each in answers} == {"DEADLINE_PASSED"}
    assert (await liability(ledger)).currencies[0].points.available == 7

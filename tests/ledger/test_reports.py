"""What finance is told of a program: what is owed, what was redeemed, whether the sums agree."""

import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from chassis.refusals import DeadlinePassed
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, report_pb2, resources_pb2
from services.ledger.store import reports
from testkit.keys import metadata, token
from testkit.postgres import TestDatabase
from tests.ledger.points_kit import START, Points, moment
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test, refusal
from tests.properties.effort import SEED

KIND = resources_pb2.Entry.Kind


async def begin(ledger: LedgerUnderTest, program: str = "p", **redemption: Any) -> Points:
    points = program_pb2.PointsSettings()
    points.expiry.add(strategy="never", kind="NONE")
    points.expiry.add(strategy="month", kind="FIXED", months=1, round_to="MONTH")
    points.expiry.add(strategy="idle", kind="INACTIVITY", months=2)
    return await Points(ledger, program).begin(
        points=points,
        program=program_pb2.GeneralSettings(time_zone="America/New_York"),
        redemption=program_pb2.RedemptionSettings(
            conversion_rate="0.01", reversal=True, **redemption
        ),
        returns=program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.Policy.ALLOW_DEBT),
    )


async def liability(ledger: LedgerUnderTest, program: str = "p", **fields: Any) -> Any:
    return await ledger.reports.GetLiability(
        report_pb2.GetLiabilityRequest(program=program, **fields)
    )


async def reconciled(ledger: LedgerUnderTest, program: str = "p") -> Any:
    return await ledger.reports.ReconcileProgram(
        report_pb2.ReconcileProgramRequest(program=program)
    )


async def redemptions(ledger: LedgerUnderTest, size: int = 0, **fields: Any) -> list[Any]:
    request = report_pb2.ListRedemptionsRequest(program="p", page_size=size, **fields)
    found: list[Any] = []
    while True:
        page = await ledger.reports.ListRedemptions(request)
        found += page.redemptions
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def month(date: Any) -> tuple[int, int]:
    return date.year, date.month


async def test_points_are_told_by_the_months_of_earning_and_of_the_last_day(
    ledger: LedgerUnderTest,
) -> None:
    points = await begin(ledger)
    # START is still December in New York.
    await points.earn(100, expiry="month")
    await points.earn(7, expiry="never")
    await points.later(days=20)
    await points.earn(50, expiry="month", mature_time=moment(START + timedelta(days=40)))
    await points.earn(30, expiry="idle")
    await points.hold(15)

    found = await liability(ledger)

    (only,) = found.currencies
    assert [
        (month(part.earned), month(part.expires), part.available, part.pending, part.held)
        for part in only.parts
    ] == [
        ((2025, 12), (2026, 1), 85, 0, 15),
        ((2025, 12), (0, 0), 7, 0, 0),
        ((2026, 1), (2026, 3), 30, 50, 0),
    ]
    assert [part.HasField("expires") for part in only.parts] == [True, False, True]
    assert only.points == resources_pb2.Amounts(available=122, pending=50, held=15)
    assert (only.value.amount, only.value.currency) == ("1.87", "USD")
    assert [part.value.amount for part in only.parts] == ["1.00", "0.07", "0.80"]
    assert only.accounts == 1
    assert found.read_time == moment(START + timedelta(days=20))


async def test_the_estimate_names_its_basis(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger)
    # Of January's 200 points 60 expire, of February's all are spent, March is not closed.
    await points.later(days=5)
    await points.earn(200, expiry="month")
    await points.redeem(140)
    await points.later(days=35)
    await points.earn(100, expiry="month")
    await points.redeem(160)
    none_closed = (await liability(ledger)).currencies[0].breakage
    await points.later(days=30)
    await points.earn(90, expiry="month")
    await points.earn(1000, expiry="never")

    found = (await liability(ledger)).currencies[0]

    assert (none_closed.rate, none_closed.months) == ("0.000000", 1)
    estimate = found.breakage
    assert (estimate.earned_points, estimate.expired_points, estimate.months) == (300, 0, 2)
    await points.redeem(90)
    await points.earn(100, expiry="month")
    await points.later(days=60)
    await points.earn(50, expiry="month")
    last = (await liability(ledger)).currencies[0].breakage
    # March: 190 earned, 100 of them expired.
    assert (last.earned_points, last.expired_points, last.months) == (490, 100, 3)
    assert (month(last.first_month), month(last.last_month)) == ((2026, 1), (2026, 3))
    assert last.rate == "0.204081"
    assert (last.outstanding_points, last.estimated_points) == (50, 10)
    assert last.estimated_value.amount == "0.10"
    without = await liability(ledger, without_breakage=True)
    assert not without.currencies[0].HasField("breakage")


async def test_what_is_owed_equals_the_sum_over_the_accounts(ledger: LedgerUnderTest) -> None:
    print(f"LOYALTY_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    points = await begin(ledger)
    members = [points, *[await points.another(f"m{number}") for number in range(9)]]
    postings: list[tuple[Points, str]] = []
    for _ in range(120):
        one = dice.choice(members)
        amount = dice.randrange(1, 200)
        soon = moment(points.now + timedelta(days=dice.randrange(1, 40)))
        choice = dice.randrange(6)
        if choice <= 2:
            expiry = ("never", "month", "idle")[choice]
            made = await one.earn(
                amount, expiry=expiry, mature_time=soon if dice.random() < 0.3 else None
            )
            postings.append((one, made.posting.posting))
        elif choice == 3:
            available, _, _, debt = await one.four()
            if available and not debt:
                await one.redeem(amount, allow_partial=True)
        elif choice == 4 and postings:
            owner, posting = postings.pop(dice.randrange(len(postings)))
            await owner.reverse(posting, cause="PURCHASE_RETURNED")
        else:
            await points.later(hours=dice.randrange(100))
            for each in members:
                each.now = points.now

    (found,) = (await liability(ledger)).currencies
    sums: Counter[str] = Counter()
    by_month: Counter[tuple[int, int]] = Counter()
    for one in members:
        account = await one.account()
        for name in ("available", "pending", "held", "debt"):
            sums[name] += getattr(account.balances[0], name)
        lots = await ledger.points.ListLots(
            ledger_pb2.ListLotsRequest(program="p", member=one.member, page_size=1000)
        )
        for lot in lots.lots:
            day = lot.earn_time.ToDatetime() - timedelta(hours=5)
            by_month[day.year, day.month] += lot.free + lot.held

    assert {name: getattr(found.points, name) for name in sums} == dict(sums)
    told: Counter[tuple[int, int]] = Counter()
    for part in found.parts:
        told[month(part.earned)] += part.available + part.pending + part.held
    assert told == +by_month
    answer = await reconciled(ledger)
    assert answer.ok, answer.differences
    (control,) = answer.currencies
    assert control.balances == control.entries == found.points
    assert control.totals == control.entry_totals
    assert answer.accounts == 10


async def test_points_due_and_not_yet_posted_count_as_posted(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger)
    await points.earn(100, expiry="month")
    await points.earn(40, expiry="never", mature_time=moment(START + timedelta(days=3)))
    # The clock moves, and nobody settled anything yet.
    await ledger.rows.execute("UPDATE program SET clock = $1", START + timedelta(days=50))

    found = (await liability(ledger)).currencies[0]

    assert found.points == resources_pb2.Amounts(available=40)


async def test_redemptions_are_listed_with_who_bears_them(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger, account="4711", cost_center="shops")
    other = await points.another("bob")
    await points.earn(100)
    await other.earn(100)
    first = await points.redeem(30, reference="till 7")
    update = program_pb2.UpdateProgramSettingsRequest(program="p")
    update.settings.redemption.conversion_rate = "0.5"
    update.settings.redemption.account = "4712"
    await ledger.programs.UpdateProgramSettings(update)
    await points.later(days=1)
    await points.reverse(first.posting.posting, points=10)
    hold = await other.hold(20)
    await other.capture(hold.hold.hold, points=5)
    await points.later(days=1)
    await points.redeem(1)

    whole = await redemptions(ledger)

    assert [
        (each.member, each.kind, each.points, each.value.amount, each.finance_account)
        for each in whole
    ] == [
        ("ada", KIND.REDEEMED, 30, "0.30", "4711"),
        ("ada", KIND.REDEMPTION_RESTORED, -10, "-0.10", "4711"),
        ("ada", KIND.REDEEMED, 1, "0.50", "4712"),
        ("bob", KIND.CAPTURED, 5, "2.50", "4712"),
    ]
    assert (whole[0].reference, whole[0].cost_center) == ("till 7", "shops")
    assert whole[1].related == whole[0].sequence
    assert whole[0].posting == first.posting.posting
    for size in (1, 2, 3):
        assert await redemptions(ledger, size) == whole
    days = [moment(START + timedelta(days=day)) for day in (0, 1, 2, 3)]
    pieces = [
        await redemptions(ledger, start_time=start, end_time=end) for start, end in pairwise(days)
    ]
    assert [len(piece) for piece in pieces] == [1, 2, 1]
    await ledger.members.EraseMember(
        account_pb2.EraseMemberRequest(program="p", member="bob", request_id="erase")
    )
    assert [each.member for each in await redemptions(ledger)] == ["ada"] * 3 + [""]
    assert (await refusal(redemptions(ledger, currency="miles"))).reason == "CURRENCY_NOT_FOUND"
    assert (await refusal(redemptions(ledger, page_token="x"))).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    "statement, row, field",
    [
        ("UPDATE lot SET free = free - 1 WHERE free > 1", "balance points", "lots.available"),
        ("UPDATE lot SET held = 1, free = free - 1 WHERE free > 1", "balance points", "lots.held"),
        (
            "UPDATE balance SET available = available + 1, earned = earned + 1",
            "balance points",
            "balances.available",
        ),
        (
            "UPDATE balance SET redeemed = redeemed + 1, expired = expired - 1 WHERE expired > 0",
            "balance points",
            "balances.redeemed",
        ),
        (
            "UPDATE entry SET points = 2, available_change = 2 WHERE kind = 2",
            "balance points",
            "balances.available",
        ),
        ("DELETE FROM entry WHERE kind = 1", "entries", "account.sequence"),
        ("UPDATE account SET sequence = sequence + 1", "entries", "account.sequence"),
        ("DELETE FROM posting WHERE sequence = 2", "entries", "posting.entry_count"),
    ],
)
async def test_a_tampered_row_is_found(
    ledger_database: TestDatabase, statement: str, row: str, field: str
) -> None:
    async with ledger_under_test(ledger_database) as ledger:
        await ledger.create_organization()
        points = await begin(ledger)
        other = await points.another("bob")
        await points.earn(50, expiry="month")
        await points.redeem(20)
        await points.later(days=70)
        await points.earn(30)
        await other.earn(10)
        clean = await reconciled(ledger)
        owner = await asyncpg.connect(ledger_database.owner_dsn)
        try:
            await owner.execute(statement)
        finally:
            await owner.close()

        answer = await reconciled(ledger)

        assert clean.ok, clean.differences
        assert not answer.ok
        found = [(each.row, each.field) for each in answer.differences]
        assert (row, field) in found
        if row.startswith("balance"):
            assert {each.member for each in answer.differences} <= {"ada", "bob"}
            assert answer.currencies[0].differing_accounts in {1, 2}


async def test_a_missing_change_of_the_stream_is_found(
    ledger_database: TestDatabase,
) -> None:
    async with ledger_under_test(ledger_database) as ledger:
        await ledger.create_organization()
        await begin(ledger)
        await ledger.rows.execute("UPDATE head SET sequence = sequence + 1 WHERE bucket = 3")

        answer = await reconciled(ledger)

        assert [(each.row, each.field) for each in answer.differences] == [("stream 3", "head")]


async def test_at_most_twenty_accounts_are_named(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger)
    for number in range(25):
        await (await points.another(f"m{number:02}")).earn(2)
    await ledger.rows.execute("UPDATE lot SET held = 1, free = 1")

    answer = await reconciled(ledger)

    assert answer.currencies[0].differing_accounts == 25
    assert len({each.member for each in answer.differences}) == 20


async def test_reports_are_of_ones_own_program_alone(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger)
    await points.earn(10)
    other = await begin(ledger, "q")
    await other.earn(5)
    await ledger.create_organization("rival")
    rival = metadata(token(organization="rival"))

    assert (await liability(ledger)).currencies[0].points.available == 10
    assert (await reconciled(ledger, "q")).currencies[0].balances.available == 5
    for call in (
        ledger.reports.GetLiability(report_pb2.GetLiabilityRequest(program="p"), metadata=rival),
        ledger.reports.ReconcileProgram(
            report_pb2.ReconcileProgramRequest(program="p"), metadata=rival
        ),
        ledger.reports.ListRedemptions(
            report_pb2.ListRedemptionsRequest(program="p"), metadata=rival
        ),
    ):
        assert (await refusal(call)).reason == "PROGRAM_NOT_FOUND"


async def test_sums_that_no_number_holds_are_refused(ledger: LedgerUnderTest) -> None:
    points = await begin(ledger)
    await points.earn(10**15)
    # So many members with so many points are quicker written than earned.
    await ledger.rows.execute(
        """
        INSERT INTO account SELECT bucket, id + n, program, person + n, state, sandbox, version,
            sequence, digest, enrol_time, record_time FROM account, generate_series(1, 9300) n
        """
    )
    await ledger.rows.execute(
        """
        INSERT INTO lot SELECT l.bucket, l.account + n, l.sequence, l.id, l.currency, l.points,
            l.free, l.held, l.pending, l.earn_time, l.mature_time, l.expire_time, l.expiry_kind,
            l.inactivity_months, l.open, l.posting FROM lot l, generate_series(1, 9300) n
        """
    )

    assert (await refusal(liability(ledger))).reason == "POINTS_OVERFLOW"
    assert (await refusal(reconciled(ledger))).reason == "POINTS_OVERFLOW"


async def test_a_report_that_takes_too_long_says_so(ledger: LedgerUnderTest) -> None:
    with pytest.raises(DeadlinePassed):
        async with reports.snapshot(ledger.rows, 0.05) as connection:
            await connection.execute("SELECT pg_sleep(5)")

    assert await ledger.rows.fetchval("SHOW statement_timeout") == "0"

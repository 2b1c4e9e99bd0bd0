"""A statement: every change with its words, the balance after each, both ends, page by page."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from testkit.keys import metadata, token
from tests.ledger.points_kit import START, Points, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

KIND = resources_pb2.Entry.Kind


async def statement(points: Points, size: int = 0, **fields: Any) -> tuple[list[Any], list[Any]]:
    """All lines of a statement, and its balances, which every page tells alike."""
    request = ledger_pb2.GetStatementRequest(
        program=points.program, member=points.member, page_size=size, **fields
    )
    lines: list[Any] = []
    balances = None
    while True:
        page = await points.ledger.points.GetStatement(request)
        lines += page.lines
        assert balances is None or balances == list(page.balances)
        balances = list(page.balances)
        request.page_token = page.next_page_token
        if not request.page_token:
            return lines, balances


def naive(days: int) -> datetime:
    """An instant so many days after the start, as messages tell it."""
    return (START + timedelta(days=days)).replace(tzinfo=None)


async def lived(ledger: LedgerUnderTest) -> Points:
    """A member with a history of ten days: earned, held, captured, expired, redeemed."""
    settings = program_pb2.PointsSettings(daily_cap=100)
    settings.expiry.add(strategy="days", kind="FIXED", days=5)
    points = await Points(ledger).begin(
        points=settings,
        redemption=program_pb2.RedemptionSettings(
            conversion_rate="0.01", account="4711", cost_center="shops"
        ),
    )
    source = resources_pb2.Source(event="order-1", rule="base", rate="2")
    source.value.amount, source.value.currency = "60.00", "USD"
    await points.earn(120, source=source, reference="till 7", expiry="days")
    await points.later(days=1)
    held = await points.hold(50)
    await points.capture(held.hold.hold, points=20)
    await points.later(days=6)
    await points.earn(9)
    await points.redeem(3)
    return points


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
async def test_the_running_balance_is_that_of_the_entries(
    ledger: LedgerUnderTest, size: int
) -> None:
    points = await lived(ledger)
    entries = await points.entries()

    lines, balances = await statement(points, size)

    assert [(line.sequence, line.kind, line.points) for line in lines] == [
        (entry.sequence, entry.kind, entry.points) for entry in entries
    ]
    balance = 0
    for line, entry in zip(lines, entries, strict=True):
        balance += line.points
        after = entry.after
        if line.currency:
            assert line.balance == balance
            assert line.balance == after.available + after.pending + after.held - after.debt
            assert line.available == after.available - after.debt
    account = await points.account()
    (only,) = balances
    assert only.opening == resources_pb2.Amounts()
    assert only.closing == entries[-1].after
    assert only.closing.available == account.balances[0].available


async def test_lines_say_what_it_was(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)

    lines, _ = await statement(points)

    earned = lines[1]
    assert earned.description == (
        "Earned; rule base; event order-1; 60.00 USD at 2; 20 not given by the daily cap"
    )
    assert (earned.reference, earned.date.year, earned.date.month, earned.date.day) == (
        "till 7", 2026, 1, 1,
    )  # fmt: skip
    spent = [line for line in lines if line.kind in {KIND.REDEEMED, KIND.CAPTURED}]
    assert [(line.value.amount, line.value.currency) for line in spent] == [
        ("0.20", "USD"),
        ("0.03", "USD"),
    ]
    assert {(line.finance_account, line.cost_center) for line in spent} == {("4711", "shops")}
    assert not any(line.HasField("value") for line in lines if line not in spent)


async def test_configuration_is_that_of_the_posting(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    update = program_pb2.UpdateProgramSettingsRequest(program="p")
    update.settings.redemption.conversion_rate = "0.5"
    update.settings.redemption.account = "other"
    await ledger.programs.UpdateProgramSettings(update)
    await points.redeem(2)

    lines, _ = await statement(points)

    spent = [line for line in lines if line.kind in {KIND.REDEEMED, KIND.CAPTURED}]
    assert [(line.value.amount, line.finance_account) for line in spent] == [
        ("0.20", "4711"),
        ("0.03", "4711"),
        ("1.00", "other"),
    ]


async def test_stretches_meet_without_gap_or_overlap(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    whole, _ = await statement(points)
    cuts = [START + timedelta(days=day) for day in (0, 1, 2, 5, 7)]
    bounds = [None, *(moment(cut) for cut in cuts), None]

    pieces: list[Any] = []
    closing = resources_pb2.Amounts()
    for start, end in pairwise(bounds):
        lines, balances = await statement(points, 2, start_time=start, end_time=end)
        pieces += lines
        for balance in balances:
            assert balance.opening == closing
            closing = balance.closing

    assert pieces == whole


async def test_newest_first_is_the_same_the_other_way_round(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    whole, balances = await statement(points)

    for size in (1, 3, 1000):
        backward, ends = await statement(points, size, newest_first=True)
        assert (backward, ends) == (whole[::-1], balances)
    some, _ = await statement(
        points, 2, newest_first=True, start_time=moment(START + timedelta(days=1))
    )
    assert some == [line for line in whole[::-1] if line.record_time.ToDatetime() >= naive(days=1)]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_what_is_recorded_meanwhile_is_on_no_page(
    ledger: LedgerUnderTest, newest_first: bool
) -> None:
    points = await lived(ledger)
    whole, balances = await statement(points, newest_first=newest_first)
    request = ledger_pb2.GetStatementRequest(
        program="p", member="ada", page_size=2, newest_first=newest_first
    )

    lines: list[Any] = []
    while True:
        page = await points.ledger.points.GetStatement(request)
        lines += page.lines
        assert list(page.balances) == balances
        request.page_token = page.next_page_token
        if not request.page_token:
            break
        await points.earn(1)

    assert lines == whole
    assert len((await statement(points))[0]) > len(whole) + 2


async def test_some_kinds_alone_still_add_up(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    whole, _ = await statement(points)
    kinds = [KIND.CAPTURED, KIND.EXPIRED, KIND.REDEEMED]

    for size in (1, 2, 1000):
        for newest_first in (False, True):
            lines, _ = await statement(points, size, kinds=kinds, newest_first=newest_first)
            lines = lines[::-1] if newest_first else lines
            assert [line.sequence for line in lines] == [
                line.sequence for line in whole if line.kind in kinds
            ]
            balance = 0
            for line in lines:
                balance += line.unlisted_points + line.points
                assert balance == line.balance
            assert any(line.unlisted_points for line in lines[1:])
    assert not any(line.unlisted_points for line in whole)


async def test_entries_by_kind_and_time(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    whole = (await points.entries())[::-1]

    async def listed(**fields: Any) -> list[Any]:
        request = ledger_pb2.ListEntriesRequest(program="p", member="ada", page_size=2, **fields)
        found: list[Any] = []
        while True:
            page = await points.ledger.points.ListEntries(request)
            found += page.entries
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    assert await listed() == whole
    assert await listed(kinds=[KIND.EARNED]) == [each for each in whole if each.kind == KIND.EARNED]
    day, week = START + timedelta(days=1), START + timedelta(days=6)
    assert await listed(start_time=moment(day), end_time=moment(week)) == [
        each for each in whole if naive(days=1) <= each.record_time.ToDatetime() < naive(days=6)
    ]
    assert await listed(end_time=moment(START - timedelta(days=1))) == []
    for call in (listed, lambda **fields: statement(points, **fields)):
        wrong = await refusal(call(start_time=moment(week), end_time=moment(day)))
        assert (wrong.reason, wrong.fields) == ("INVALID_FIELD", ("end_time",))


async def test_one_currency_alone(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    update = program_pb2.UpdateProgramSettingsRequest(program="p")
    update.settings.currencies.alternate = True
    await ledger.programs.UpdateProgramSettings(update)
    await ledger.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(program="p", currency_id="miles")
    )
    await points.earn(5, currency="miles")

    miles, balances = await statement(points, currency="miles")
    both, ends = await statement(points)

    assert [(line.points, line.balance, line.currency) for line in miles] == [(5, 5, "miles")]
    assert [(each.currency, each.closing.available) for each in balances] == [("miles", 5)]
    assert {each.currency for each in ends} == {"points", "miles"}
    assert len(both) > len(miles)


async def test_refusals(ledger: LedgerUnderTest) -> None:
    points = await lived(ledger)
    await points.another("bob")

    async def reason(**fields: Any) -> str:
        return (await refusal(statement(points, **fields))).reason

    assert await reason(currency="miles") == "CURRENCY_NOT_FOUND"
    assert await reason(attributed_member="bob") == "GROUP_NOT_FOUND"
    assert await reason(page_token="x") == "INVALID_PAGE_TOKEN"
    page = await ledger.points.GetStatement(
        ledger_pb2.GetStatementRequest(program="p", member="ada", page_size=1)
    )
    other = await refusal(
        statement(points, page_token=page.next_page_token, start_time=moment(START))
    )
    assert other.reason == "INVALID_PAGE_TOKEN"
    points.member = "nobody"
    assert await reason() == "MEMBER_NOT_FOUND"


@pytest.mark.own_ledger
async def test_a_members_own_token_reaches_its_own_statement_only(
    ledger: LedgerUnderTest,
) -> None:
    points = await lived(ledger)
    await points.another("bob")
    own = metadata(token(member="ada", program="p"))
    request = ledger_pb2.GetStatementRequest(program="p", member="ada")

    page = await ledger.points.GetStatement(request, metadata=own)
    request.member = "bob"
    refused = await refusal(ledger.points.GetStatement(request, metadata=own))

    assert len(page.lines) > 3
    assert refused.reason == "SCOPE_MISSING"

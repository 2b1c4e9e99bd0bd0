"""What limits, currencies and times of a program do, as callers see it: off, and on."""

import httpx
import pytest

from tests.journeys.program_kit import Answer, Program, created
from tests.journeys.suite_kit import NEWCOMER, Suite

JANUARY = "2026-01-01T00:00:00Z"


def given(answer: Answer) -> tuple[int, dict[str, int]]:
    """Points that an earning gave, and what which limit took."""
    entry = answer.ok["posting"]["entries"][-1]
    return int(entry["points"]), {each["limit"]: int(each["points"]) for each in entry["forfeits"]}


async def test_limits_cut_in_their_order(http: httpx.AsyncClient) -> None:
    program = await created(http, "limits")
    free = await program.earn("ada", 100)
    await program.set(
        "points.daily_cap,points.monthly_cap,points.maximum_balance",
        points={"dailyCap": 100, "monthlyCap": 90, "maximumBalance": 70},
    )
    cut = await program.earn("bea", 120)
    nothing = await program.earn("ada", 5)
    credit = await program.do("bea", "adjust", points=1, reason="sorry")
    await program.set("points")
    after = await program.earn("bea", 120)

    assert given(free) == (100, {})
    assert given(cut) == (70, {"DAILY_CAP": 20, "MONTHLY_CAP": 10, "MAXIMUM_BALANCE": 20})
    assert given(nothing) == (0, {"DAILY_CAP": 5})
    assert credit.refusal == (
        "LIMIT_REACHED",
        {"limit_name": "points.maximum_balance", "limit": "70", "count": "70"},
    )
    assert given(after) == (120, {})


async def test_a_daily_cap_is_of_the_local_day_and_given_back_by_a_return(
    http: httpx.AsyncClient,
) -> None:
    program = await created(
        http,
        "daily",
        start=JANUARY,
        program={"timeZone": "America/New_York"},
        points={"dailyCap": 100},
    )
    await program.advance("2026-01-10T20:00:00Z")
    first = await program.earn("ada", 80)
    second = await program.earn("ada", 80)
    await program.reverse(first.id)
    third = await program.earn("ada", 90)
    await program.advance("2026-01-11T04:59:59Z")
    same_day = await program.earn("ada", 1)
    await program.advance("2026-01-11T05:00:00Z")
    next_day = await program.earn("ada", 1)

    assert given(second) == (20, {"DAILY_CAP": 60})
    assert given(third) == (80, {"DAILY_CAP": 10})
    assert given(same_day) == (0, {"DAILY_CAP": 1})
    assert given(next_day) == (1, {})


@pytest.mark.parametrize(
    "period, points", [("CALENDAR_MONTH", [100, 0, 100]), ("BILLING_MONTH", [100, 100, 0])]
)
async def test_a_monthly_cap_counts_in_the_month_of_the_purchase(
    http: httpx.AsyncClient, period: str, points: list[int]
) -> None:
    program = await created(
        http,
        f"month-{period}",
        start=JANUARY,
        points={"monthlyCap": 100},
        limits={"period": period},
    )
    enrolled = {"member": "ada", "requestId": "enrol", "billingDay": 15}
    _ = (await program.call("POST", "/members", enrolled)).ok
    await program.advance("2026-03-20T00:00:00Z")
    # Posted late: the second in the same calendar month, the third in the same billing month.
    answers = [
        await program.earn("ada", 100, effectiveTime=f"2026-{day}T12:00:00Z")
        for day in ("02-10", "02-20", "03-14")
    ]

    assert [given(answer)[0] for answer in answers] == points


async def test_redeeming_ends_when_the_program_says(http: httpx.AsyncClient) -> None:
    program = await created(http, "until", start=JANUARY)
    await program.earn("ada", 100)
    free = await program.redeem("ada", 1)
    await program.set(
        "program.end,redemption.until",
        program={"end": "2026-02-01T00:00:00Z"},
        redemption={"until": "2026-03-01T00:00:00Z"},
    )
    await program.advance("2026-02-01T00:00:00Z")
    earned = await program.earn("ada", 1)
    spent = await program.redeem("ada", 1)
    held = await program.hold("ada", 5, expireTime="2026-03-05T00:00:00Z")
    await program.advance("2026-03-01T00:00:00Z")
    late = await program.redeem("ada", 1)
    captured = await program.end_hold(held, "capture")

    assert free.status == spent.status == 200
    assert earned.reason == late.reason == "PROGRAM_INACTIVE"
    assert late.refusal[1]["until"].startswith("2026-03-01T00:00:00")
    # What was promised in time is kept.
    assert captured.entries == [("CAPTURED", -5)]


async def test_points_are_worth_the_conversion_rate(http: httpx.AsyncClient) -> None:
    program = await created(http, "worth")
    await program.earn("ada", 1000)
    unset = await program.redeem("ada", 1)
    await program.set("redemption.conversion_rate", redemption={"conversionRate": "0.0125"})
    spent = await program.redeem("ada", 99)
    captured = await program.end_hold(await program.hold("ada", 99), "capture")
    quote = (await program.call("GET", "/members/ada:quote", points=99)).ok

    assert unset.ok.get("value") is None
    # 1.2375, rounded down to cents.
    worth = {"amount": "1.23", "currency": "USD"}
    assert spent["value"] == captured["value"] == quote["value"] == worth


async def test_currencies_have_scales_caps_and_expiry_of_their_own(
    http: httpx.AsyncClient,
) -> None:
    points = {
        "expiry": [
            {"strategy": "never", "kind": "NONE"},
            {"strategy": "month", "kind": "FIXED", "days": 30},
        ]
    }
    program = await created(http, "mixed", start=JANUARY, points=points)
    miles = {"displayName": "Miles", "scale": 2, "dailyCap": 50, "expiry": "month"}
    body = {"currencyId": "miles", "currency": miles}
    off = await program.call("POST", "/currencies", body)
    await program.set("currencies.alternate", currencies={"alternate": True})
    on = await program.call("POST", "/currencies", body)
    operations = [{"earn": {"points": 80}}, {"earn": {"points": 80, "currency": "miles"}}]
    both = await program.do("ada", "post", operations=operations)
    mixed = await program.redeem("ada", 51, currency="miles")
    await program.redeem("ada", 10)
    await program.redeem("ada", 20, currency="miles")
    before = [await program.numbers("ada", currency) for currency in ("points", "miles")]
    await program.advance("2026-01-31T00:00:00Z")
    after = [await program.numbers("ada", currency) for currency in ("points", "miles")]
    back = await program.call(
        "PATCH", "/settings", {"settings": {}, "updateMask": "currencies.alternate"}
    )

    assert off.refusal == ("SETTING_OFF", {"setting": "currencies.alternate"})
    assert on.ok["scale"] == 2
    assert both.entries[-2:] == [("EARNED", 80), ("EARNED", 50)]
    # There are points enough, and none of them become miles.
    assert mixed.refusal[1] == {"available": "50", "required": "51", "shortfall": "1"}
    assert before == [(70, 0, 0, 0), (30, 0, 0, 0)]
    assert after == [(70, 0, 0, 0), (0, 0, 0, 0)]
    assert back.reason == "SETTING_FIXED"


async def test_more_programs_and_bulk_updates_are_switched_on(suite: Suite) -> None:
    await suite.create_organization("newcomer")
    async with suite.client(NEWCOMER) as http:
        first = await created(http, "first")
        refused = Answer(await http.post("/v1/programs", json={"program": "second"}))
        await created(http, "box", start=JANUARY)
        bulk = {
            "items": [
                {
                    "program": name,
                    "settings": {"points": {"dailyCap": 7}},
                    "updateMask": "points.daily_cap",
                }
                for name in ("first", "box")
            ]
        }
        off = Answer(await http.post("/v1/programs:batchUpdateSettings", json=bulk))
        switches = {"settings": {"multiplePrograms": True, "bulkUpdates": True}}
        _ = Answer(await http.patch("/v1/organization", json={"organization": switches})).ok
        second = await created(http, "second")
        on = Answer(await http.post("/v1/programs:batchUpdateSettings", json=bulk))
        await first.earn("ada", 10)
        await second.earn("ada", 10)

        assert refused.refusal == (
            "LIMIT_REACHED",
            {"limit_name": "multiple_programs", "limit": "1", "count": "1"},
        )
        assert off.refusal == ("SETTING_OFF", {"setting": "bulk_updates"})
        assert [each["program"] for each in on.ok["results"]] == ["first", "box"]
        assert await _numbers(first, second) == [7, 10]
        # What the member has in all of them, at one look.
        accounts = Answer(await http.get("/v1/members/ada/accounts")).ok["accounts"]
        assert [(each["program"], each["balances"][0]["available"]) for each in accounts] == [
            ("first", "7"),
            ("second", "10"),
        ]


async def _numbers(*programs: Program) -> list[int]:
    return [(await program.numbers("ada"))[0] for program in programs]

"""What settings of points, returns and redemptions do, as callers see it: off, and on."""

from typing import Any

import httpx
import pytest

from tests.journeys.program_kit import created

JANUARY = "2026-01-01T00:00:00Z"
MONTH = {"expiry": [{"strategy": "month", "kind": "FIXED", "days": 30}]}


async def test_pending_points_mature_on_time_only(http: httpx.AsyncClient) -> None:
    program = await created(http, "pending-off", start=JANUARY)
    await program.earn("ada", 40, matureTime="2026-01-15T00:00:00Z")
    early = await program.redeem("ada", 1)
    activated = await program.do("ada", "activatePending")
    await program.advance("2026-01-14T23:59:59.999999Z")
    before = await program.numbers("ada")
    await program.advance("2026-01-15T00:00:00Z")

    assert early.reason == "INSUFFICIENT_POINTS"
    assert activated.refusal == ("SETTING_OFF", {"setting": "points.pending_conversion"})
    assert before == (0, 40, 0, 0)
    assert await program.numbers("ada") == (40, 0, 0, 0)


async def test_pending_points_are_converted_at_once(http: httpx.AsyncClient) -> None:
    points = MONTH | {"pendingConversion": True}
    program = await created(http, "pending-on", start=JANUARY, points=points)
    await program.earn("ada", 40, matureTime="2026-01-15T00:00:00Z")
    await program.advance("2026-01-05T00:00:00Z")
    first, again = [
        await program.do("ada", "activatePending", requestId="convert") for _ in range(2)
    ]
    nothing = await program.do("ada", "activatePending")
    newest = (await program.history("ada"))[-1]

    assert first.entries == [("MATURED", 0)]
    assert (again["posting"], again["replayed"]) == (first["posting"], True)
    assert nothing.reason == "NOTHING_PENDING"
    assert await program.numbers("ada") == (40, 0, 0, 0)
    assert (newest["kind"], newest["effectiveTime"]) == ("MATURED", "2026-01-05T00:00:00Z")
    # The clock of expiry starts at maturity.
    assert newest["expireTime"] == "2026-02-04T00:00:00Z"
    assert (await program.redeem("ada", 40)).status == 200


async def test_points_expire_at_the_instant_and_only_the_remainder(
    http: httpx.AsyncClient,
) -> None:
    program = await created(http, "expiry", start="2026-01-01T10:30:00Z", points=MONTH)
    await program.earn("ada", 100)
    await program.redeem("ada", 30)
    await program.advance("2026-01-31T10:29:59.999999Z")
    spendable = await program.redeem("ada", 1, validateOnly=True)
    await program.advance("2026-01-31T10:30:00Z")
    dead = await program.redeem("ada", 1)
    await program.advance("2026-03-01T00:00:00Z")
    expired = [each for each in await program.history("ada") if each["kind"] == "EXPIRED"]

    assert spendable.status == 200
    assert dead.refusal == (
        "INSUFFICIENT_POINTS",
        {"available": "0", "required": "1", "shortfall": "1"},
    )
    assert [(each["points"], each["effectiveTime"]) for each in expired] == [
        ("-70", "2026-01-31T10:30:00Z")
    ]


@pytest.mark.parametrize(
    "days, told", [(0, []), (7, [("EXPIRY_NOTICED", "70", "2026-01-24T00:00:00Z")])]
)
async def test_notice_of_expiry_is_given_days_before(
    http: httpx.AsyncClient, days: int, told: list[Any]
) -> None:
    points = MONTH | {"expiryNoticeDays": days}
    program = await created(http, f"notice-{days}", start=JANUARY, points=points)
    await program.earn("ada", 100)
    await program.redeem("ada", 30)
    await program.advance("2026-01-23T23:59:59Z")
    silent = await program.history("ada")
    await program.advance("2026-01-30T23:59:59Z")
    entries = (await program.history("ada"))[len(silent) :]

    assert [each["kind"] for each in silent] == ["ENROLLED", "EARNED", "REDEEMED"]
    assert [(e["kind"], e["requested"], e["effectiveTime"]) for e in entries] == told


# Policy and floor; what is left available, pending, held and owed, and unrecovered.
RETURNS = [
    ("WITHIN_BALANCE", None, (0, 0, 0, 0), 70),
    ("OWN_LOTS_ONLY", None, (10, 0, 0, 0), 80),
    ("ALLOW_DEBT", None, (0, 0, 0, 70), 0),
    ("ALLOW_DEBT", 50, (0, 0, 0, 50), 20),
]


@pytest.mark.parametrize("policy, floor, numbers, unrecovered", RETURNS)
async def test_a_return_of_spent_points_goes_by_the_policy(
    http: httpx.AsyncClient,
    policy: str,
    floor: int | None,
    numbers: tuple[int, int, int, int],
    unrecovered: int,
) -> None:
    returns = {"policy": policy} | ({} if floor is None else {"debtFloor": floor})
    program = await created(http, f"returns-{policy}-{floor}", returns=returns)
    bought = await program.earn("ada", 100)
    await program.earn("ada", 10)
    await program.redeem("ada", 80)
    returned = await program.reverse(bought.id, cause="PURCHASE_RETURNED")
    after = await program.numbers("ada")
    spent = await program.redeem("ada", 1)
    later = await program.earn("ada", 100)

    assert after == numbers
    assert (int(returned["reversed"]), int(returned["unrecovered"])) == (
        100 - unrecovered,
        unrecovered,
    )
    debt = numbers[3]
    if debt:
        assert spent.refusal == ("IN_DEBT", {"debt": str(debt)})
        assert later.entries == [("EARNED", 100), ("DEBT_REPAID", 0)]
    else:
        assert spent.status == (200 if numbers[0] else 409)
        assert later.entries == [("EARNED", 100)]
    assert await program.numbers("ada") == (
        100 - debt + max(0, numbers[0] - 1),
        0,
        0,
        0,
    )
    assert await program.verified("ada") is True


async def test_redeeming_needs_the_minimum_balance_and_the_step(http: httpx.AsyncClient) -> None:
    program = await created(http, "threshold")
    await program.earn("ada", 99)
    free = await program.redeem("ada", 1)
    await program.set(
        "redemption.minimum_balance,redemption.step",
        redemption={"minimumBalance": 100, "step": 5},
    )
    below = await program.redeem("ada", 5)
    held = await program.hold("ada", 5)
    await program.earn("ada", 2)
    odd = await program.redeem("ada", 6)
    quote = (await program.call("GET", "/members/ada:quote")).ok
    reached = await program.redeem("ada", 5)

    assert free.status == 200
    shortfall = {"available": "98", "required": "100", "shortfall": "2"}
    assert below.refusal == held.refusal == ("BELOW_MINIMUM_BALANCE", shortfall)
    assert odd.refusal == ("NOT_A_MULTIPLE_OF_STEP", {"step": "5"})
    assert quote["redeemablePoints"] == "100"
    assert reached.entries == [("REDEEMED", -5)]


@pytest.mark.parametrize("captured", [True, False])
async def test_an_entry_shows_the_value_behind_its_points(
    http: httpx.AsyncClient, captured: bool
) -> None:
    program = await created(http, f"source-{captured}", points={"captureSourceValue": captured})
    source = {
        "event": "order-1",
        "rule": "dollar",
        "value": {"amount": "12.34", "currency": "USD"},
        "rate": "2.5",
        "rounding": "FLOOR",
        "excluded": ["2: gift card"],
    }
    posting = (await program.earn("ada", 30, source=source)).id
    read = (await program.call("GET", f"/postings/{posting}")).ok["entries"][-1]["source"]

    assert (read["event"], read["rule"]) == ("order-1", "dollar")
    shown = {name: read.get(name) or None for name in ("value", "rate", "excluded")}
    if captured:
        assert shown == {name: source[name] for name in ("value", "rate", "excluded")}
    else:
        assert shown == {"value": None, "rate": None, "excluded": None}


async def test_operators_reverse_redemptions_where_that_is_on(http: httpx.AsyncClient) -> None:
    program = await created(http, "reversal")
    await program.earn("ada", 100)
    spent = (await program.redeem("ada", 60)).id
    off = await program.reverse(spent, points=10)
    failed = await program.reverse(spent, points=10, cause="REWARD_FAILED")
    await program.set("redemption.reversal", redemption={"reversal": True})
    part = await program.reverse(spent, points=20)
    more = await program.reverse(spent, points=31)
    rest = await program.reverse(spent)
    nothing = await program.reverse(spent)

    assert off.refusal == ("SETTING_OFF", {"setting": "redemption.reversal"})
    assert failed["reversed"] == "10"
    assert part["reversed"] == "20"
    assert more.refusal == (
        "REVERSAL_EXCEEDS",
        {"available": "30", "required": "31", "shortfall": "1"},
    )
    assert rest["reversed"] == "30"
    assert nothing.reason == "REVERSAL_EXCEEDS"
    assert await program.numbers("ada") == (100, 0, 0, 0)


@pytest.mark.parametrize("days", [0, 10])
async def test_restored_points_that_have_expired_get_days_of_grace(
    http: httpx.AsyncClient, days: int
) -> None:
    redemption = {"reversal": True, "reversalGraceDays": days}
    program = await created(
        http, f"grace-{days}", start=JANUARY, points=MONTH, redemption=redemption
    )
    await program.earn("ada", 100)
    spent = (await program.redeem("ada", 60)).id
    await program.advance("2026-03-01T12:00:00Z")
    restored = await program.reverse(spent)
    numbers = await program.numbers("ada")
    await program.advance("2026-03-11T11:59:59Z")
    alive = await program.numbers("ada")
    await program.advance("2026-03-11T12:00:00Z")

    left = 60 if days else 0
    assert (restored["reversed"], restored["expired"]) == ("60", str(60 - left))
    assert numbers == alive == (left, 0, 0, 0)
    assert await program.numbers("ada") == (0, 0, 0, 0)
    assert await program.verified("ada") is True

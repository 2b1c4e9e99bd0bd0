"""What settings between members do, as callers see it: transfers, groups and fleets, programs."""

from typing import Any

import httpx
import pytest

from tests.journeys.program_kit import Answer, Program, created
from tests.journeys.suite_kit import until

JANUARY = "2026-01-01T00:00:00Z"
ON: dict[str, Any] = {"enabled": True}


def limit(answer: Answer) -> str:
    """The name of the limit that refused."""
    reason, metadata = answer.refusal
    assert reason == "LIMIT_REACHED", answer
    name: str = metadata["limit_name"]
    return name


async def test_members_give_points_within_limits(http: httpx.AsyncClient) -> None:
    program = await created(http, "gifts", start=JANUARY, points={"maximumBalance": 200})
    for member in ("giver", "taker"):
        await program.earn(member, 150)
    off = await program.transfer("giver", "taker", 20)
    await program.set("transfer", transfer=ON)
    free = await program.transfer("giver", "taker", 1)
    bounds = {"minimum": 10, "maximum": 30, "monthlyCount": 3, "monthlyPoints": 45}
    await program.set("transfer", transfer=ON | bounds)
    few = await program.transfer("giver", "taker", 9)
    many = await program.transfer("giver", "taker", 31)
    given = await program.transfer("giver", "taker", 30)
    points = await program.transfer("giver", "taker", 15)
    again = await program.transfer("giver", "taker", 14)
    times = await program.transfer("giver", "taker", 10)
    await program.advance("2026-02-01T00:00:00Z")
    full = await program.transfer("giver", "taker", 10)
    numbers = [await program.numbers(member) for member in ("giver", "taker")]

    assert off.refusal == ("SETTING_OFF", {"setting": "transfer.enabled"})
    assert (free.status, limit(few), limit(many)) == (200, "transfer.minimum", "transfer.maximum")
    assert (given.status, again.status) == (200, 200)
    assert (limit(points), limit(times)) == ("transfer.monthly_points", "transfer.monthly_count")
    assert limit(full) == "points.maximum_balance"
    assert numbers == [(105, 0, 0, 0), (195, 0, 0, 0)]
    # Both histories tell it, and each the other.
    sent, received = given["posting"], given["received"]
    assert (sent["peerPosting"], received["peerPosting"]) == (received["posting"], sent["posting"])
    out, into = sent["entries"][0], received["entries"][0]
    assert (out["kind"], out["counterpart"]) == ("TRANSFERRED_OUT", "taker")
    assert (into["kind"], into["counterpart"]) == ("TRANSFERRED_IN", "giver")
    for member in ("giver", "taker"):
        assert await program.verified(member) is True


async def test_points_are_given_at_a_minimum_age(http: httpx.AsyncClient) -> None:
    program = await created(http, "aged", start=JANUARY, transfer=ON)
    await program.earn("taker", 1)
    await program.earn("giver", 50)
    young = await program.transfer("giver", "taker", 1)
    await program.set("transfer.minimum_age_days", transfer={"minimumAgeDays": 10})
    await program.advance("2026-01-10T23:59:59Z")
    early = await program.transfer("giver", "taker", 1)
    await program.earn("giver", 50)
    await program.advance("2026-01-11T00:00:00Z")
    more = await program.transfer("giver", "taker", 50)
    old = await program.transfer("giver", "taker", 49)

    assert young.status == 200
    assert early.refusal[1] == {"available": "0", "required": "1", "shortfall": "1"}
    assert more.refusal[1] == {"available": "49", "required": "50", "shortfall": "1"}
    assert old.status == 200


LADDER = {
    "tiers": [
        {"tier": "bronze"},
        {
            "tier": "silver",
            "criteria": [
                {"window": {"counter": "spend", "period": "LIFETIME"}, "threshold": "100"}
            ],
        },
    ]
}


async def shared(program: Program, kind: str, group: str, **rules: Any) -> Answer:
    """Ask for a group or a fleet whose owners may redeem."""
    roles = [{"role": "owner", "permissions": ["REDEEM"]}, {"role": "driver"}]
    body = {"group": group, "kind": kind, "rules": {"roles": roles} | rules}
    return await program.call("POST", "/groups", body | {"requestId": "create"})


async def join(program: Program, group: str, member: str, role: str) -> Answer:
    body = {"member": member, "role": role, "requestId": f"join-{group}"}
    return await program.call("POST", f"/groups/{group}/members", body)


async def leave(program: Program, group: str, member: str, **fields: Any) -> Answer:
    body = {"requestId": f"leave-{group}"} | fields
    return await program.call("POST", f"/groups/{group}/members/{member}:remove", body)


@pytest.mark.parametrize("kind, setting", [("GROUP", "groups"), ("FLEET", "fleets")])
async def test_points_tiers_and_permissions_are_shared(
    http: httpx.AsyncClient, kind: str, setting: str
) -> None:
    program = await created(http, f"shared-{setting}")
    owner, driver, crew = f"{setting}-owner", f"{setting}-driver", f"{setting}-crew"
    counter = {"counterId": "spend", "counter": {"displayName": "Spend"}}
    _ = (await program.call("POST", "/counters", counter)).ok
    _ = (await program.call("POST", "/ladders", {"ladderId": "l", "ladder": LADDER})).ok
    await program.earn(owner, 40)
    await program.earn(driver, 60)
    off = await shared(program, kind, crew)
    await program.set(f"{setting}.enabled", **{setting: ON})
    _ = (await shared(program, kind, crew)).ok
    for member, role in ((owner, "owner"), (driver, "driver")):
        _ = (await join(program, crew, member, role)).ok
    for member in (owner, driver):
        _ = (await program.do(member, "count", counter="spend", value=60)).ok
    earned = await program.earn(driver, 20)
    refused = await program.redeem(driver, 10)
    spent = await program.redeem(owner, 30)
    own = (await program.get(driver, own=True)).ok
    lines = (await program.get(crew, "statement", attributedMember=driver)).ok["lines"]

    assert off.refusal == ("SETTING_OFF", {"setting": f"{setting}.enabled"})
    entry = earned["posting"]["entries"][0]
    assert (earned["posting"]["accountMember"], entry["attributedMember"]) == (crew, driver)
    assert refused.refusal == ("PERMISSION_MISSING", {"role": "driver", "permission": "REDEEM"})
    assert spent.entries == [("REDEEMED", -30)]
    for member in (owner, driver, crew):
        assert await program.numbers(member) == (90, 0, 0, 0)
    assert (own["member"], own["group"]) == (driver, crew)
    assert [each["available"] for each in own["balances"]] == ["0"]

    async def risen() -> bool:
        found = [(await program.get(m, "membership")).ok for m in (owner, driver, crew)]
        return [each["tier"]["tier"] for each in found] == ["silver"] * 3

    # Neither of them has spent enough alone.
    await until(risen)
    assert [(each["kind"], each["points"]) for each in lines] == [
        ("MOVED_IN", "60"),
        ("COUNTED", "0"),
        ("EARNED", "20"),
    ]
    assert await program.verified(crew) is True


@pytest.mark.parametrize(
    "on_leave, group, member", [("FORFEIT_TO_GROUP", 90, 0), ("TAKE_SHARE", 31, 59)]
)
async def test_leaving_a_group_goes_by_its_rules(
    http: httpx.AsyncClient, on_leave: str, group: int, member: int
) -> None:
    program = await created(http, f"leaving-{on_leave}", groups=ON)
    one, two, crew = (f"{on_leave}-{name}" for name in ("one", "two", "crew"))
    await program.earn(one, 40)
    await program.earn(two, 80)
    _ = (await shared(program, "GROUP", crew, onLeave=on_leave)).ok
    for name in (one, two):
        _ = (await join(program, crew, name, "owner")).ok
    await program.redeem(one, 30)
    # 10 of one's 40 and the other's 80 are left; two thirds of each, rounded down, are the other's.
    left = await leave(program, crew, two)
    again = await leave(program, crew, two)
    earned = await program.earn(two, 1)

    assert left.ok["replayed"] is False
    assert again.ok["replayed"] is True
    assert earned["posting"]["accountMember"] == ""
    assert (await program.numbers(crew))[0] == group
    assert (await program.numbers(two))[0] == member + 1
    for name in (one, two, crew):
        assert await program.verified(name) is True


async def test_a_statement_adds_up_line_by_line(http: httpx.AsyncClient) -> None:
    program = await created(
        http,
        "lines",
        start="2026-01-01T22:00:00Z",
        program={"timeZone": "Europe/Berlin"},
        redemption={"conversionRate": "0.01", "account": "4711", "costCenter": "marketing"},
        points={"expiry": [{"strategy": "month", "kind": "FIXED", "days": 30}]},
    )
    await program.earn("ada", 100, reference="order 1")
    await program.advance("2026-01-02T23:30:00Z")
    await program.redeem("ada", 30)
    await program.do("ada", "adjust", points=5, reason="sorry")
    await program.hold("ada", 10)
    await program.advance("2026-02-15T00:00:00Z")
    statement = (await program.get("ada", "statement")).ok
    lines = [line for line in statement["lines"] if line["currency"]]

    points = [int(line["points"]) for line in lines]
    assert [int(line["balance"]) for line in lines] == [
        sum(points[: index + 1]) for index in range(len(points))
    ]
    assert [(line["kind"], line["points"]) for line in lines] == [
        ("EARNED", "100"),
        ("REDEEMED", "-30"),
        ("ADJUSTED_IN", "5"),
        ("HELD", "0"),
        ("LAPSED", "0"),
        ("EXPIRED", "-70"),
        ("EXPIRED", "-5"),
    ]
    assert lines[0]["reference"] == "order 1"
    assert lines[1]["date"] == {"year": 2026, "month": 1, "day": 3}
    assert lines[1]["value"] == {"amount": "0.30", "currency": "USD"}
    assert (lines[1]["financeAccount"], lines[1]["costCenter"]) == ("4711", "marketing")
    assert "sorry" in lines[2]["description"]
    assert all(line["description"] for line in lines)
    assert statement["balances"][0]["closing"]["available"] == "0"

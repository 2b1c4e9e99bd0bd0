"""From an event at the door to points, tier and audiences of its member."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from testkit.postgres import TestPostgres
from tests.journeys.suite_kit import Suite, running_suite, until

LADDER = {
    "tiers": [
        {"tier": "bronze"},
        {
            "tier": "silver",
            "criteria": [
                {"window": {"counter": "spend", "period": "LIFETIME"}, "threshold": "25000"}
            ],
            "earningRate": "2",
        },
    ]
}


async def made(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shop(http: httpx.AsyncClient, name: str, *, tier_rate: bool = True, **fields: Any) -> str:
    """A program with a rule by amount, two tiers by spend, and two audiences; its path."""
    path = f"/v1/programs/{name}"
    settings = {
        "program": {"autoEnrol": True, "currencyCode": "USD", "timeZone": "UTC"},
        "points": {"expiry": [{"strategy": "month", "kind": "FIXED", "days": 30}]},
    }
    await made(
        await http.post("/v1/programs", json={"program": name, "settings": settings, **fields})
    )
    spend = {"counterId": "spend", "counter": {"unit": "minor:USD"}}
    await made(await http.post(f"{path}/counters", json=spend))
    dollar = {"rule": "dollar", "earningRule": {"points": "1", "tierRate": tier_rate}}
    await made(await http.post(f"{path}/earningRules", json=dollar))
    await made(await http.post(f"{path}/ladders", json={"ladderId": "status", "ladder": LADDER}))
    for audience, criterion in {
        "rich": {"field": "AVAILABLE", "minimum": "100"},
        "silvers": {"field": "TIER", "tiers": ["silver"]},
    }.items():
        body = {
            "audienceId": audience,
            "audience": {"displayName": audience.title(), "criteria": [criterion]},
        }
        await made(await http.post(f"{path}/audiences", json=body))
    return path


def purchase(member: str, dollars: str, **fields: Any) -> dict[str, Any]:
    money = {"amount": dollars, "currency": "USD"}
    return {"type": "purchase", "member": member, "amount": money, **fields}


async def buy(
    http: httpx.AsyncClient, path: str, member: str, dollars: str, key: str
) -> httpx.Response:
    return await http.post(
        f"{path}/events", json=purchase(member, dollars), headers={"idempotency-key": key}
    )


def available(body: dict[str, Any]) -> int:
    return int(body["account"]["balances"][0]["available"])


async def audiences(http: httpx.AsyncClient, path: str, member: str) -> list[str]:
    body = (await http.get(f"{path}/members/{member}")).json()
    return [each["audience"] for each in body["audiences"]]


async def test_an_event_comes_in_and_points_tier_and_audiences_follow(
    http: httpx.AsyncClient,
) -> None:
    path = await shop(http, "main-line")
    outcome = await made(await buy(http, path, "ada", "260.99", "order-1"))
    profile = await made(await http.get(f"{path}/members/ada"))

    assert (outcome["state"], outcome["replayed"]) == ("DONE", False)
    assert available(outcome) == 260
    assert outcome["membership"]["tier"]["tier"] == "silver"
    assert available(profile) == 260
    assert profile["account"]["balances"][0]["totals"]["earned"] == "260"
    assert profile["membership"]["tier"]["tier"] == "silver"
    assert profile["membership"].get("next") is None

    async def followed() -> bool:
        return await audiences(http, path, "ada") == ["rich", "silvers"]

    assert await until(followed) < 1.0
    profile = await made(await http.get(f"{path}/members/ada"))
    assert profile["unavailable"] == []
    assert profile["audiences"] == [
        {"audience": "rich", "displayName": "Rich"},
        {"audience": "silvers", "displayName": "Silvers"},
    ]
    assert profile["audiencesFreshness"]["lag"].endswith("s")

    # The tier that was reached counts from the next purchase on.
    second = await made(await buy(http, path, "ada", "10", "order-2"))
    assert available(second) == 280


async def test_a_member_sees_the_way_to_the_next_tier(http: httpx.AsyncClient) -> None:
    path = await shop(http, "progress")
    await made(await buy(http, path, "ada", "100", "order-1"))
    token = (await http.post("/v1/token", json={"program": "progress", "member": "ada"})).json()
    own = {"authorization": f"Bearer {token['token']}"}
    profile = await made(await http.get("/v1/me", headers=own))
    progress = profile["membership"]["next"]["progress"][0]

    assert profile["membership"]["tier"]["tier"] == "bronze"
    assert (progress["value"], progress["missing"]) == ("10000", "15000")
    assert len(profile["expirations"]) == 1

    async def known() -> bool:
        answer = await http.get("/v1/me/audiences", headers=own)
        return [each["audience"] for each in answer.json().get("audiences", ())] == ["rich"]

    await until(known)


async def test_an_event_sent_again_in_any_way_is_one_event(http: httpx.AsyncClient) -> None:
    path = await shop(http, "again")
    single = await asyncio.gather(*(buy(http, path, "m", "50", "e1") for _ in range(10)))
    named = await http.post(f"{path}/events", json=purchase("m", "50", id="e1"))
    batch = await http.post(
        f"{path}/events:batch",
        json={"events": [purchase("m", "50", id="e1"), purchase("m", "7", id="e2")]},
    )
    other = await http.post(f"{path}/events", json=purchase("m", "51", id="e1"))
    account = await made(await http.get(f"{path}/members/m/account"))
    logged = await made(await http.get(f"{path}/events"))
    explained = await made(await http.get(f"{path}/events/e1"))

    assert {answer.status_code for answer in single} == {200}
    assert sum(not answer.json()["replayed"] for answer in single) == 1
    assert named.json()["replayed"] is True
    assert [result["outcome"]["replayed"] for result in batch.json()["results"]] == [True, False]
    assert (other.status_code, other.json()["reason"]) == (409, "REQUEST_ID_REUSED")
    assert account["balances"][0]["available"] == "57"
    assert [each["event"]["id"] for each in logged["events"]] == ["e2", "e1"]
    assert any(step["applied"] and step["rule"] == "dollar" for step in explained["trace"])


async def test_a_year_of_a_sandbox_passes_in_every_service(http: httpx.AsyncClient) -> None:
    path = await shop(http, "year", sandbox=True, startTime="2026-01-01T00:00:00Z")
    await made(await buy(http, path, "m", "120", "e1"))
    await made(await buy(http, path, "n", "130", "e2"))
    moved = await made(
        await http.post(f"{path}:advanceClock", json={"time": "2027-01-01T00:00:00Z"})
    )
    same = await made(
        await http.post(f"{path}:advanceClock", json={"time": "2027-01-01T00:00:00Z"})
    )
    # Done in every service when the call answers: nothing is waited for.
    profile = await made(await http.get(f"{path}/members/m"))

    assert moved == {"time": "2027-01-01T00:00:00Z", "settledAccounts": "2"}
    assert same["settledAccounts"] == "0"
    assert available(profile) == 0
    assert profile["audiences"] == []
    assert profile["unavailable"] == []
    assert profile["expirations"] == []


async def test_many_may_move_a_sandbox_at_once(http: httpx.AsyncClient) -> None:
    path = await shop(http, "hurry", sandbox=True, startTime="2026-01-01T00:00:00Z")
    for number in range(20):
        await made(await buy(http, path, f"m{number}", "120", f"e{number}"))
    target = {"time": "2026-06-01T00:00:00Z"}
    answers = await asyncio.gather(
        *(http.post(f"{path}:advanceClock", json=target) for _ in range(5))
    )
    members = await made(await http.get(f"{path}/audiences/rich/members"))
    book = [
        (await http.get(f"{path}/members/m{number}:verify")).json()["ok"] for number in range(20)
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["time"] for answer in answers} == {"2026-06-01T00:00:00Z"}
    assert members["members"] == []
    assert all(book)


@pytest.fixture
async def breakable(
    postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    """A suite of the test's own, whose services may be stopped."""
    async with running_suite(postgres, tmp_path_factory.mktemp("breakable")) as suite:
        yield suite


@pytest.mark.parametrize("tier_rate", [False, True])
async def test_without_tiers_events_earn_or_wait_for_their_rate_and_the_tier_follows(
    breakable: Suite, tier_rate: bool
) -> None:
    async with breakable.client() as http:
        path = await shop(http, "p", tier_rate=tier_rate)
        await made(await buy(http, path, "m", "200", "e1"))
        await breakable.stop("tiers")
        outcome = await buy(http, path, "m", "100", "e2")
        profile = await made(await http.get(f"{path}/members/m"))
        refused = await http.get(f"{path}/members/m/membership")
        unready = await http.get("/readyz")
        await breakable.start("tiers")

        async def risen() -> bool:
            body = (await http.get(f"{path}/members/m")).json()
            return (
                body["unavailable"] == []
                and body["membership"]["tier"]["tier"] == "silver"
                and [each["audience"] for each in body["audiences"]] == ["rich", "silvers"]
                and available(body) == 300
            )

        # Nobody sends the event again: what was logged is finished.
        await until(risen)

    if tier_rate:
        assert outcome.json()["metadata"] == {"dependency": "tiers"}
    else:
        assert available(await made(outcome)) == 300
        assert "membership" not in outcome.json()
    assert profile["unavailable"] == ["MEMBERSHIP"]
    assert refused.json()["metadata"] == {"dependency": "tiers"}
    assert (unready.status_code, unready.json()["metadata"]) == (503, {"dependency": "tiers"})


async def test_without_rules_everything_else_answers_and_events_come_later(
    breakable: Suite,
) -> None:
    async with breakable.client() as http:
        path = await shop(http, "p")
        await made(await buy(http, path, "m", "100", "e1"))
        await breakable.stop("rules")
        refused = await buy(http, path, "m", "200", "e2")
        earned = await http.post(
            f"{path}/members/m:earn", json={"points": 5, "requestId": "by-hand"}
        )
        profile = await made(await http.get(f"{path}/members/m"))
        checked = await http.get(f"{path}/audiences/rich/members/m:check")
        await breakable.start("rules")

        async def accepted() -> bool:
            return (await buy(http, path, "m", "200", "e2")).status_code == 200

        await until(accepted)
        after = await made(await http.get(f"{path}/members/m"))

    assert (refused.status_code, refused.json()["reason"]) == (503, "DEPENDENCY_UNAVAILABLE")
    assert refused.json()["metadata"] == {"dependency": "rules"}
    assert earned.status_code == 200
    assert (profile["unavailable"], available(profile)) == ([], 105)
    assert checked.status_code == 200
    assert available(after) == 305
    assert after["membership"]["tier"]["tier"] == "silver"


async def test_without_audience_the_main_line_goes_on_and_it_catches_up(
    breakable: Suite,
) -> None:
    async with breakable.client() as http:
        path = await shop(http, "p")
        await breakable.stop("audience")
        outcome = await made(await buy(http, path, "m", "300", "e1"))
        profile = await made(await http.get(f"{path}/members/m"))
        await breakable.start("audience")

        async def followed() -> bool:
            body = (await http.get(f"{path}/members/m")).json()
            return [each["audience"] for each in body["audiences"]] == ["rich", "silvers"]

        await until(followed)

    assert outcome["membership"]["tier"]["tier"] == "silver"
    assert profile["unavailable"] == ["AUDIENCES"]
    assert available(profile) == 300


@pytest.mark.parametrize("name", ["rules", "tiers", "audience"])
async def test_time_stands_still_while_a_service_is_down_and_passes_after_it(
    breakable: Suite, name: str
) -> None:
    async with breakable.client() as http:
        path = await shop(http, "box", sandbox=True, startTime="2026-01-01T00:00:00Z")
        await made(await buy(http, path, "m", "260", "e1"))
        target = {"time": "2026-03-01T00:00:00Z"}
        await breakable.stop(name)
        refused = await http.post(f"{path}:advanceClock", json=target)
        program = await made(await http.get(path))
        await breakable.start(name)

        async def moved() -> bool:
            return (await http.post(f"{path}:advanceClock", json=target)).status_code == 200

        await until(moved)
        profile = await made(await http.get(f"{path}/members/m"))

    assert (refused.status_code, refused.json()["metadata"]) == (503, {"dependency": name})
    assert program["now"] == "2026-01-01T00:00:00Z"
    assert available(profile) == 0
    assert [each["audience"] for each in profile["audiences"]] == ["silvers"]


async def test_who_is_erased_is_unknown_to_every_service(http: httpx.AsyncClient) -> None:
    path, eve = await shop(http, "erasing"), "eve.erased"
    await made(await buy(http, path, eve, "260", "order-1"))
    reads = [
        f"{path}/members/{eve}{part}"
        for part in ("", "/account", "/membership", "/membership/history", "/audiences")
    ]

    async def known() -> bool:
        return await audiences(http, path, eve) == ["rich", "silvers"]

    await until(known)
    assert [(await http.get(read)).status_code for read in reads] == [200] * len(reads)

    erasing = {"requestId": "erase", "writeOff": True, "reason": "asked for"}
    done = await made(await http.post(f"{path}/members/{eve}:erase", json=erasing))
    again = await made(await http.post(f"{path}/members/{eve}:erase", json=erasing))

    assert (done["membersErased"], again["replayed"]) == (1, True)
    assert done["postings"][0]["posting"] == again["postings"][0]["posting"]

    async def forgotten() -> bool:
        answers = [await http.get(read) for read in reads]
        events = await made(await http.get(f"{path}/events", params={"member": eve}))
        return not events.get("events") and all(each.status_code == 404 for each in answers)

    await until(forgotten)
    event = await made(await http.get(f"{path}/events/order-1"))
    assert eve not in str(event)
    assert "260" in [entry["points"] for entry in event["posting"]["entries"]]
    for audience in ("rich", "silvers"):
        listed = await made(await http.get(f"{path}/audiences/{audience}/members"))
        assert not listed.get("members")

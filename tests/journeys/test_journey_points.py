"""From an HTTP call to a locked row and back."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.journeys.suite_kit import STRANGER


async def program(http: httpx.AsyncClient, name: str, **fields: Any) -> str:
    """Create a program that enrols by itself; the path of its members."""
    settings = {"program": {"autoEnrol": True}, "redemption": {"conversionRate": "0.01"}}
    answer = await http.post("/v1/programs", json={"program": name, "settings": settings, **fields})

    assert answer.status_code == 200, answer.text
    return f"/v1/programs/{name}/members"


async def earn(http: httpx.AsyncClient, member: str, points: int, key: str) -> dict[str, Any]:
    answer = await http.post(
        f"{member}:earn", json={"points": points}, headers={"idempotency-key": key}
    )

    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def available(account: dict[str, Any]) -> int:
    return int(account["balances"][0]["available"])


async def test_points_are_earned_spent_and_explained(http: httpx.AsyncClient) -> None:
    member = f"{await program(http, 'shop')}/ada"
    earned = await earn(http, member, 250, "till-7-000123")
    redeemed = (
        await http.post(f"{member}:redeem", json={"points": "100", "requestId": "order-1"})
    ).json()
    account = (await http.get(f"{member}/account")).json()
    entries = (await http.get(f"{member}/entries")).json()["entries"]
    posting = redeemed["posting"]["posting"]
    again = (await http.get(f"/v1/programs/shop/postings/{posting}")).json()
    verified = (await http.get(f"{member}:verify")).json()
    profile = (await http.get(member)).json()

    assert available(earned["account"]) == 250
    assert redeemed["value"]["amount"] in {"1", "1.00"}
    assert available(account) == 150
    assert [entry["kind"] for entry in entries] == ["REDEEMED", "EARNED", "ENROLLED"]
    assert [entry["points"] for entry in entries] == ["-100", "250", "0"]
    assert again == redeemed["posting"]
    assert verified["ok"] is True
    assert profile["account"]["balances"] == account["balances"]
    assert profile["unavailable"] == []


async def test_fifty_redeem_at_once_and_only_what_is_there_is_spent(
    http: httpx.AsyncClient,
) -> None:
    member = f"{await program(http, 'rush')}/hot"
    await earn(http, member, 250, "opening")
    answers = await asyncio.gather(
        *(
            http.post(f"{member}:redeem", json={"points": 10, "requestId": f"r{index}"})
            for index in range(50)
        )
    )
    refused = [answer for answer in answers if answer.status_code != 200]
    account = (await http.get(f"{member}/account")).json()

    assert Counter(answer.status_code for answer in answers) == {200: 25, 409: 25}
    for answer in refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["reason"] == "INSUFFICIENT_POINTS"
        assert answer.json()["metadata"] == {
            "available": "0",
            "required": "10",
            "shortfall": "10",
        }
    left = [
        int(answer.json()["account"]["balances"][0]["available"])
        for answer in answers
        if answer.status_code == 200
    ]
    assert all(points >= 0 for points in left)
    assert available(account) == 0
    assert account["balances"][0]["totals"]["redeemed"] == "250"
    assert (await http.get(f"{member}:verify")).json()["ok"] is True


async def test_the_same_request_many_times_is_one_posting(http: httpx.AsyncClient) -> None:
    member = f"{await program(http, 'twice')}/m"
    answers = await asyncio.gather(
        *(
            http.post(f"{member}:earn", json={"points": 5}, headers={"idempotency-key": '"k"'})
            for _ in range(20)
        )
    )
    other = await http.post(f"{member}:earn", json={"points": 6, "requestId": "k"})
    account = (await http.get(f"{member}/account")).json()

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["posting"]["posting"] for answer in answers}) == 1
    assert sum(not answer.json()["replayed"] for answer in answers) == 1
    assert (other.status_code, other.json()["reason"]) == (409, "REQUEST_ID_REUSED")
    assert available(account) == 5


IDS = ["auth0|1", "a+b@x.example", "m1:earn", "%41", "...", "{}", "a?b#c", '"quoted"', "~" * 128]


@pytest.mark.parametrize("member", IDS)
async def test_members_of_any_visible_ascii_have_accounts(
    http: httpx.AsyncClient, member: str
) -> None:
    from urllib.parse import quote

    created = await http.post("/v1/programs", json={"program": "ids"})
    path = f"/v1/programs/ids/members/{quote(member, safe='')}"
    enrolled = await http.post(
        "/v1/programs/ids/members", json={"member": member, "requestId": "enrol"}
    )
    await earn(http, path, 7, "k")
    account = (await http.get(f"{path}/account")).json()

    assert created.status_code == 200
    assert enrolled.status_code == 200, enrolled.text
    assert (account["member"], available(account)) == (member, 7)
    assert (await http.get(path)).json()["member"] == member


async def test_a_batch_answers_each_by_itself(http: httpx.AsyncClient) -> None:
    await program(http, "batch")

    def post(member: str, request: str, operation: dict[str, Any]) -> dict[str, Any]:
        return {"member": member, "requestId": request, "operations": [operation]}

    answer = await http.post(
        "/v1/programs/batch/postings:batch",
        json={
            "requests": [
                post("a", "1", {"earn": {"points": "10"}}),
                post("a", "2", {"redeem": {"points": "11"}}),
                post("a", "3", {"redeem": {"points": "10"}}),
                post("b", "1", {"redeem": {"points": "1"}}),
            ]
        },
    )
    results = answer.json()["results"]

    assert answer.status_code == 200, answer.text
    assert ["posting" in result for result in results] == [True, False, True, False]
    detail = results[1]["status"]["details"][0]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail["reason"] == "INSUFFICIENT_POINTS"
    assert detail["metadata"]["available"] == "10"
    assert results[3]["status"]["details"][0]["reason"] == "MEMBER_NOT_FOUND"


async def test_settings_change_under_a_mask_and_an_etag(http: httpx.AsyncClient) -> None:
    await program(http, "set")
    path = "/v1/programs/set/settings"
    first = (await http.get(path)).json()
    capped = await http.patch(
        f"{path}?updateMask=points.daily_cap", json={"settings": {"points": {"dailyCap": "50"}}}
    )
    stale = await http.patch(
        path, json={"settings": {"points": {"dailyCap": "60"}}, "etag": first["etag"]}
    )
    cleared = await http.patch(path, json={"settings": {}, "updateMask": "points.dailyCap"})
    unknown = await http.patch(path, json={"settings": {}, "updateMask": "points.nothing"})

    assert capped.json()["points"]["dailyCap"] == "50"
    assert capped.json()["program"]["autoEnrol"] is True
    assert (stale.status_code, stale.json()["reason"]) == (412, "ETAG_STALE")
    assert "dailyCap" not in cleared.json()["points"]
    assert (unknown.status_code, unknown.json()["reason"]) == (400, "INVALID_FIELD")


async def test_a_sandbox_lives_through_its_time(http: httpx.AsyncClient) -> None:
    members = await program(
        http,
        "box",
        sandbox=True,
        startTime="2026-01-01T00:00:00Z",
        settings={
            "program": {"autoEnrol": True},
            "points": {"expiry": [{"strategy": "month", "kind": "FIXED", "days": 30}]},
        },
    )
    await earn(http, f"{members}/m", 40, "k")
    due = (await http.get(f"{members}/m/expirations")).json()["expirations"]
    moved = await http.post("/v1/programs/box:advanceClock", json={"time": "2026-02-15T00:00:00Z"})
    back = await http.post("/v1/programs/box:advanceClock", json={"time": "2026-01-15T00:00:00Z"})
    account = (await http.get(f"{members}/m/account")).json()
    newest = (await http.get(f"{members}/m/entries?pageSize=1")).json()

    assert due[0]["points"] == "40"
    assert (moved.status_code, moved.json()["settledAccounts"]) == (200, "1")
    assert (back.status_code, back.json()["reason"]) == (409, "CLOCK_GOES_BACK")
    assert available(account) == 0
    assert newest["entries"][0]["kind"] == "EXPIRED"
    assert newest["nextPageToken"]


async def test_entries_page_to_the_end(http: httpx.AsyncClient) -> None:
    member = f"{await program(http, 'pages')}/m"
    for index in range(5):
        await earn(http, member, 1, f"k{index}")
    sequences: list[str] = []
    token = ""
    for _ in range(10):
        query = {"pageSize": "2", **({"pageToken": token} if token else {})}
        page = (await http.get(f"{member}/entries", params=query)).json()
        sequences += [entry["sequence"] for entry in page["entries"]]
        token = page["nextPageToken"]
        if not token:
            break
    wrong = await http.get(f"{member}/entries?pageToken=nonsense")

    assert sequences == ["6", "5", "4", "3", "2", "1"]
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "INVALID_PAGE_TOKEN")


async def test_counters_are_counted_and_asked_for(http: httpx.AsyncClient) -> None:
    member = f"{await program(http, 'count')}/m"
    await http.post("/v1/programs/count/counters", json={"counterId": "visits"})
    counted = await http.post(
        f"{member}:count", json={"counter": "visits", "value": 3, "requestId": "c"}
    )
    account = await http.get(
        f"{member}/account", params={"windows": '{"counter": "visits", "period": "LIFETIME"}'}
    )

    assert counted.status_code == 200, counted.text
    assert account.json()["counters"][0]["value"] == "3"


async def test_a_member_sees_its_own_and_a_stranger_nothing(http: httpx.AsyncClient) -> None:
    members = await program(http, "mine")
    await earn(http, f"{members}/ada", 9, "k")
    issued = await http.post("/v1/token", json={"program": "mine", "member": "ada"})
    own = {"authorization": f"Bearer {issued.json()['token']}"}
    profile = await http.get("/v1/me", headers=own)
    entries = await http.get("/v1/me/entries", headers=own)
    elsewhere = await http.get(f"{members}/ada/account", headers=own)
    stranger = {"authorization": f"Bearer {STRANGER}"}
    unseen = await http.get(f"{members}/ada/account", headers=stranger)
    listed = await http.get("/v1/programs", headers=stranger)

    assert available(profile.json()["account"]) == 9
    assert len(entries.json()["entries"]) == 2
    assert elsewhere.status_code == 403
    assert (unseen.status_code, unseen.json()["reason"]) == (404, "PROGRAM_NOT_FOUND")
    assert listed.json()["programs"] == []


async def test_missing_things_are_named(http: httpx.AsyncClient) -> None:
    members = await program(http, "gone")
    cases = {
        f"{members}/nobody": "MEMBER_NOT_FOUND",
        f"{members}/nobody/account": "MEMBER_NOT_FOUND",
        "/v1/programs/nothing/members/m": "PROGRAM_NOT_FOUND",
        "/v1/programs/nothing": "PROGRAM_NOT_FOUND",
        "/v1/programs/gone/postings/018f0000-0000-7000-8000-000000000000": "POSTING_NOT_FOUND",
    }
    for path, reason in cases.items():
        answer = await http.get(path)

        assert (answer.status_code, answer.json()["reason"]) == (404, reason), path

"""Holds, merges and freezing in combinations that contradict each other."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.journeys.program_kit import Program, created, of

JANUARY = "2026-01-01T00:00:00Z"


async def test_of_two_merges_into_each_other_one_is_done(http: httpx.AsyncClient) -> None:
    program = await created(http, "both-ways", transfer={"enabled": True})
    for index in range(4):
        one, two = f"ways-one-{index}", f"ways-two-{index}"
        await program.earn(one, 10)
        await program.earn(two, 20)
        answers = await asyncio.gather(
            program.do(one, "merge", into=two),
            program.do(two, "merge", into=one),
            program.earn(one, 1),
            program.earn(two, 1),
            program.transfer(one, two, 5),
        )
        merges, earnings, transfer = answers[:2], answers[2:4], answers[4]

        assert sorted(each.status for each in merges) == [200, 409]
        assert {each.reason for each in merges if each.status != 200} == {"MEMBER_MERGED"}
        assert [each.status for each in earnings] == [200, 200]
        assert transfer.status in {200, 400}
        assert await program.numbers(one) == await program.numbers(two) == (32, 0, 0, 0)
        for member in (one, two):
            assert await program.verified(member) is True


async def test_a_hold_is_ended_before_a_merge_and_reversed_after_it(
    http: httpx.AsyncClient,
) -> None:
    redemption = {"reversal": True}
    program = await created(http, "hold-merge", redemption=redemption, transfer={"enabled": True})
    old, new = "held-old", "held-new"
    bought = await program.earn(old, 100)
    await program.earn(new, 1)
    hold = await program.hold(old, 60)
    early = await program.do(old, "merge", into=new)
    captured = await program.end_hold(hold, "capture", points=50)
    _ = (await program.do(old, "merge", into=new)).ok
    late = await program.end_hold(hold, "release")
    to_itself = await program.transfer(new, old, 1)
    given_back = await program.reverse(captured.id, points=20)
    returned = await program.reverse(bought.id)
    again = await program.reverse(bought.id, points=1)

    assert early.refusal == ("HOLD_OPEN", {"count": "1"})
    assert late.reason == "HOLD_CLOSED"
    assert to_itself.refusal == ("INVALID_FIELD", {"field": "recipient"})
    assert given_back.ok["reversed"] == "20"
    # Of 100 points 70 are there; one more is taken from the new member's own.
    assert (returned.ok["reversed"], returned["unrecovered"]) == ("71", "29")
    assert again.reason == "REVERSAL_EXCEEDS"
    assert await program.numbers(new) == (0, 0, 0, 0)
    rest = await program.reverse(captured.id)
    # What comes back meets the claim; the last of it was taken from other points before.
    assert rest.ok["reversed"] == "30"
    assert await program.numbers(new) == (1, 0, 0, 0)
    for member in (old, new):
        assert await program.verified(member) is True


@pytest.mark.parametrize("late", [False, True])
async def test_a_hold_is_captured_before_its_deadline_and_not_at_it(
    http: httpx.AsyncClient, late: bool
) -> None:
    points = {"expiry": [{"strategy": "week", "kind": "FIXED", "days": 7}]}
    program = await created(
        http, f"deadline-{late}", start=JANUARY, points=points, redemption={"reversal": True}
    )
    await program.earn("ada", 100)
    hold = await program.hold("ada", 60, expireTime="2026-01-20T00:00:00Z")
    await program.advance("2026-01-20T00:00:00Z" if late else "2026-01-19T23:59:59.999999Z")
    captured = await program.end_hold(hold, "capture", points=50)

    if late:
        metadata = {"hold": hold["hold"]["hold"], "state": "LAPSED"}
        assert captured.refusal == ("HOLD_CLOSED", metadata)
    else:
        # Its lot has expired meanwhile: what is released dies, and so does what comes back.
        assert captured.entries == [("CAPTURED", -50), ("RELEASED", 0), ("EXPIRED", -10)]
        restored = await program.reverse(captured.id, points=20)
        assert restored.entries == [("REDEMPTION_RESTORED", 20), ("EXPIRED", -20)]
        assert restored["expired"] == "20"
    assert await program.numbers("ada") == (0, 0, 0, 0)
    assert await program.verified("ada") is True


async def _frozen_answers(program: Program, member: str, other: str) -> dict[str, Any]:
    """What every command of a frozen member is answered with."""
    bodies: dict[str, dict[str, Any]] = {
        "earn": {"points": 1},
        "redeem": {"points": 1},
        "adjust": {"points": 1, "reason": "r"},
        "count": {"counter": "visits", "value": 1},
        "post": {"operations": [{"earn": {"points": 1}}]},
        "hold": {"points": 1},
        "transfer": {"points": 1, "recipient": other},
        "activatePending": {},
        "redeemAcrossPrograms": {"points": 1},
        "merge": {"into": other},
        "freeze": {"reason": "r"},
    }
    answers = {verb: await program.do(member, verb, **body) for verb, body in bodies.items()}
    answers["received"] = await program.transfer(other, member, 1)
    answers["merged into"] = await program.do(other, "merge", into=member)
    row = {"member": member, "number": 1, "balances": [{"points": 1}]}
    imported = await program.call("POST", "/members:import", {"importId": "i", "rows": [row]})
    result = imported.ok["results"][0]["status"]["details"][0]
    return {name: each.refusal for name, each in answers.items()} | {
        "import": (result["reason"], {"member": result["metadata"]["member"]})
    }


async def test_of_a_frozen_member_no_points_move(http: httpx.AsyncClient) -> None:
    program = await created(
        http, "frozen", transfer={"enabled": True}, points={"pendingConversion": True}
    )
    member, other = "frozen-one", "frozen-other"
    bought = await program.earn(member, 100)
    await program.earn(other, 10)
    hold = await program.hold(member, 10)
    await program.end_hold(await program.hold(member, 10), "release")
    _ = (await program.do(member, "freeze", reason="odd")).ok
    before = (await program.get(member)).ok["sequence"]
    refusals = await _frozen_answers(program, member, other)
    refusals["capture"] = (await program.end_hold(hold, "capture")).refusal
    refusals["release"] = (await program.end_hold(hold, "release")).refusal
    refusals["reverse"] = (await program.reverse(bought.id)).refusal
    after = (await program.get(member)).ok["sequence"]
    unfrozen = await program.do(member, "unfreeze", reason="fine")

    assert refusals == dict.fromkeys(refusals, ("MEMBER_FROZEN", {"member": member}))
    assert before == after
    assert unfrozen.entries == [("UNFROZEN", 0)]
    assert (await program.do(member, "unfreeze", reason="r")).reason == "MEMBER_NOT_FROZEN"


async def test_a_members_token_reaches_nobody_else(http: httpx.AsyncClient) -> None:
    program = await created(http, "own-only")
    for member in ("own-ada", "own-bea"):
        await program.earn(member, 5)
    issued = await http.post("/v1/token", json={"program": program.name, "member": "own-ada"})
    own = {"authorization": f"Bearer {issued.json()['token']}"}
    mine = ("/v1/me", "/v1/me/account", "/v1/me/statement", "/v1/me/entries", "/v1/me:quote")
    seen = [await http.get(path, headers=own) for path in mine]
    others = [
        await http.get(f"{program.path}{path}", headers=own)
        for path in (f"{of('own-bea')}/account", f"{of('own-ada')}/account", "/members", "/groups")
    ]
    named = await http.get("/v1/me/account?member=own-bea", headers=own)
    spent = await http.post(
        f"{program.path}{of('own-ada')}:redeem", json={"points": 1, "requestId": "r"}, headers=own
    )

    assert [each.status_code for each in seen] == [200] * len(mine)
    assert [each.status_code for each in others] == [403] * 4
    assert (named.status_code, spent.status_code) == (400, 403)


async def test_a_redemption_of_before_a_merge_comes_back_and_adds_up(
    http: httpx.AsyncClient,
) -> None:
    program = await created(http, "spent-merge", redemption={"reversal": True})
    old, new = "spent-old", "spent-new"
    bought = await program.earn(old, 100)
    await program.earn(old, 50)
    await program.earn(new, 1)
    spent = await program.redeem(old, 100)
    # Nothing of it is left, so that others are taken in its place.
    await program.reverse(bought.id, points=30)
    _ = (await program.do(old, "merge", into=new)).ok
    await program.reverse(spent.id)

    assert await program.numbers(new) == (121, 0, 0, 0)
    assert await program.verified(new) is True
    assert (await program.reverse(bought.id)).ok["unrecovered"] == "0"
    assert await program.numbers(new) == (51, 0, 0, 0)
    assert await program.verified(new) is True


async def test_whatever_is_returned_and_given_back_no_points_appear(
    http: httpx.AsyncClient,
) -> None:
    program = await created(http, "nothing-appears", redemption={"reversal": True})
    first = await program.earn("ada", 20)
    held = await program.hold("ada", 20)
    second = await program.earn("ada", 10)
    third = await program.earn("ada", 4)
    spent = await program.redeem("ada", 4)
    # The first is returned at the cost of the others; what was held of it then pays for the second.
    for bought in (first, second):
        await program.reverse(bought.id)
    await program.end_hold(held, "release")
    await program.reverse(third.id)
    await program.reverse(spent.id)

    assert await program.numbers("ada") == (0, 0, 0, 0)
    assert await program.verified("ada") is True

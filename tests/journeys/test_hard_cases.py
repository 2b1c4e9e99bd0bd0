"""Combinations that contradict each other, as hostile or unlucky callers send them."""

import httpx

from tests.journeys.program_kit import Answer, Program, created


async def test_a_merge_enrols_where_only_the_old_member_was(http: httpx.AsyncClient) -> None:
    both = await created(http, "merge-both")
    one = await created(http, "merge-one")
    await both.earn("hard-old", 1)
    await one.earn("hard-old", 2)
    await both.earn("hard-new", 3)
    since = (await one.get("hard-old")).ok["enrolTime"]
    _ = (await both.do("hard-old", "merge", into="hard-new")).ok

    assert await one.numbers("hard-new") == (2, 0, 0, 0)
    assert (await one.get("hard-new")).ok["enrolTime"] == since
    for program in (both, one):
        for member in ("hard-old", "hard-new"):
            assert await program.verified(member) is True


async def test_what_was_known_has_no_maturity_of_what_was_taken_back(
    http: httpx.AsyncClient,
) -> None:
    program = await created(http, "taken-back", start="2026-01-01T00:00:00Z")
    bought = await program.earn("ada", 50, matureTime="2026-01-05T00:00:00Z")
    await program.earn("ada", 20, matureTime="2026-01-05T00:00:00Z")
    await program.reverse(bought.id)
    await program.advance("2026-01-09T00:00:00Z")
    told = (await program.get("ada")).ok
    await program.advance("2026-01-20T00:00:00Z")
    known = (await program.get("ada", **{"asOf.recordTime": "2026-01-09T00:00:00Z"})).ok

    assert known == told


async def test_points_of_other_scales_do_not_add_up_to_a_redemption(
    http: httpx.AsyncClient,
) -> None:
    across = {"acrossPrograms": "PROPORTIONAL"}
    whole = await created(http, "scale-0", redemption=across)
    settings = {"program": {"autoEnrol": True}, "redemption": across}
    body = {"program": "scale-2", "currency": {"scale": 2}, "settings": settings}
    _ = Answer(await http.post("/v1/programs", json=body)).ok
    cents = Program(http, "scale-2")
    for program in (whole, cents):
        await program.earn("hard-scales", 100)
    named = await whole.do("hard-scales", "redeemAcrossPrograms", points=150, programs=["scale-2"])
    unnamed = await whole.do("hard-scales", "redeemAcrossPrograms", points=150)
    enough = await whole.do("hard-scales", "redeemAcrossPrograms", points=100)

    assert named.refusal == ("INVALID_FIELD", {"field": "programs"})
    assert unnamed.refusal[1] == {"available": "100", "required": "150", "shortfall": "50"}
    assert [part["program"] for part in enough.ok["parts"]] == ["scale-0"]


async def test_one_instant_is_asked_for_in_one_of_the_two_times(http: httpx.AsyncClient) -> None:
    program = await created(http, "two-times", start="2026-01-01T00:00:00Z")
    await program.earn("ada", 1)
    instant = "2026-01-01T00:00:00Z"
    one = await program.get("ada", **{"asOf.recordTime": instant})
    both = await program.get("ada", **{"asOf.recordTime": instant, "asOf.effective_time": instant})

    assert one.status == 200
    assert both.refusal == ("INVALID_FIELD", {"field": "asOf.effective_time"})

"""One redemption on several programs' points, as callers see it: off, and on."""

import httpx
import pytest

from tests.journeys.program_kit import Answer, Program, created

MONTH = {"expiry": [{"strategy": "month", "kind": "FIXED", "days": 30}]}


async def across(program: Program, member: str, points: int, **body: object) -> Answer:
    return await program.do(member, "redeemAcrossPrograms", points=points, **body)


async def available(member: str, *programs: Program) -> list[int]:
    return [(await program.numbers(member))[0] for program in programs]


@pytest.mark.parametrize(
    "strategy, parts", [("FIRST_TO_EXPIRE", [20, 100]), ("PROPORTIONAL", [60, 60])]
)
async def test_one_redemption_draws_on_several_programs(
    http: httpx.AsyncClient, strategy: str, parts: list[int]
) -> None:
    rate = {"conversionRate": "0.01"}
    hotel = await created(http, f"hotel-{strategy}", redemption=rate)
    flights = await created(http, f"flights-{strategy}", redemption=rate, points=MONTH)
    apart = await created(http, f"apart-{strategy}", redemption=rate)
    programs = (hotel, flights, apart)
    for program in programs:
        await program.earn(strategy, 100)
    off = await across(hotel, strategy, 120)
    await hotel.set("redemption.across_programs", redemption={"acrossPrograms": strategy})
    alone = await across(hotel, strategy, 120)
    named = await across(hotel, strategy, 120, programs=[flights.name])
    await flights.set("redemption.across_programs", redemption={"acrossPrograms": "PROPORTIONAL"})
    dry = await across(hotel, strategy, 120, validateOnly=True)
    untouched = await available(strategy, *programs)
    done, again = [await across(hotel, strategy, 120, requestId="trip") for _ in range(2)]
    spent = await available(strategy, *programs)
    back = await hotel.reverse(done.id, points=60, cause="REWARD_FAILED")

    setting = {"setting": "redemption.across_programs"}
    assert off.refusal == named.refusal == ("SETTING_OFF", setting)
    assert alone.reason == "INSUFFICIENT_POINTS"
    for each in (dry, done, again):
        assert [int(part["points"]) for part in each.ok["parts"]] == parts
    assert [part["program"] for part in done["parts"]] == [hotel.name, flights.name]
    assert done["parts"][1]["posting"]["peerPosting"] == done.id
    assert (done["replayed"], again["replayed"]) == (False, True)
    assert untouched == [100, 100, 100]
    assert spent == [100 - parts[0], 100 - parts[1], 100]
    # Half of it comes back, to each half of what it gave.
    assert int(back.ok["reversed"]) == 60
    assert await available(strategy, *programs) == [
        100 - parts[0] // 2,
        100 - parts[1] // 2,
        100,
    ]
    for program in programs:
        assert await program.verified(strategy) is True

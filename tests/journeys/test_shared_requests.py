"""Request ids of members whose points are in one account are told apart."""

import httpx

from tests.journeys.program_kit import created


async def test_a_request_id_is_of_the_member_addressed(http: httpx.AsyncClient) -> None:
    program = await created(http, "shared-requests", groups={"enabled": True})
    crew, one, two = (f"requests-{name}" for name in ("crew", "one", "two"))
    body = {"group": crew, "kind": "GROUP", "requestId": "create"}
    _ = (await program.call("POST", "/groups", body)).ok
    for member in (one, two):
        await program.earn(member, 1)
        body = {"member": member, "requestId": "join"}
        _ = (await program.call("POST", f"/groups/{crew}/members", body)).ok

    asked = [await program.earn(member, 7, requestId="same") for member in (one, two, crew)]
    again = [await program.earn(member, 7, requestId="same") for member in (one, two, crew)]
    other = await program.earn(crew, 8, requestId="same")

    assert [each.ok["replayed"] for each in asked] == [False] * 3
    assert [each.ok["replayed"] for each in again] == [True] * 3
    assert [each.id for each in again] == [each.id for each in asked]
    assert other.refusal[1] == {"request_id": "same", "posting": asked[2].id}
    assert await program.numbers(crew) == (2 + 3 * 7, 0, 0, 0)


async def test_a_merge_keeps_the_request_ids_of_both(http: httpx.AsyncClient) -> None:
    program = await created(http, "merged-requests")
    old, new = "requests-old", "requests-new"
    before = [await program.earn(member, 10, requestId="before") for member in (old, new)]
    _ = (await program.do(old, "merge", into=new)).ok
    replays = [await program.earn(member, 10, requestId="before") for member in (old, new)]
    after = [await program.earn(member, 5, requestId="after") for member in (old, new)]
    hold = await program.hold(new, 5, requestId="before")

    assert [each.ok["replayed"] for each in replays] == [True, True]
    assert [each.id for each in replays] == [each.id for each in before]
    assert [each.ok["replayed"] for each in after] == [False, False]
    assert hold.refusal[1] == {"request_id": "before", "posting": before[1].id}
    assert await program.numbers(old) == (30, 0, 0, 0)

"""Combinations that contradict each other, as hostile or unlucky callers send them."""

import httpx

from tests.journeys.program_kit import created


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

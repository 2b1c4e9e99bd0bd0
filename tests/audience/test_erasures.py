"""Profiles of whom the ledger and the tiers say that they were erased."""

from itertools import count

import pytest

from loyalty.ledger.v1 import account_pb2
from tests.audience.audience_kit import AUTO_ENROL, AudienceUnderTest, available, standing
from tests.ledger.programs_kit import refusal

_numbers = count()


async def erase(suite: AudienceUnderTest, member: str = "ada") -> None:
    await suite.ledger.members.EraseMember(
        account_pb2.EraseMemberRequest(
            program="p1", member=member, request_id=f"erase-{next(_numbers)}"
        )
    )


async def known(suite: AudienceUnderTest, member: str = "ada") -> list[tuple[int, str]]:
    """What is stored of a member in each program: the last entry, and the tier."""
    rows = await suite.rows.fetch(
        "SELECT sequence, tier FROM profile WHERE member = $1 ORDER BY program", member
    )
    return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("tiers_first", [False, True])
async def test_who_is_erased_has_no_profile_in_any_program(
    suite: AudienceUnderTest, tiers_first: bool
) -> None:
    await suite.ledger.create_program("p2", settings=AUTO_ENROL)
    for program in ("p1", "p2"):
        await suite.create("rich", available(50), program=program)
        await suite.create("gold", standing("gold"), program=program)
        for member in ("ada", "bob"):
            await suite.earn(member, 100, program)
            suite.tiers.move(member, "gold", program=program)
    await suite.settled()
    assert await known(suite) == [(2, "gold"), (2, "gold")]

    if tiers_first:
        suite.tiers.erase("ada")
        await suite.settled()
        assert await known(suite) == [(2, ""), (2, "")]
        await erase(suite)
    else:
        await erase(suite)
        await suite.settled()
        # What the tiers told of her is theirs to take back; nobody sees it.
        assert await known(suite) == [(0, "gold"), (0, "gold")]
        assert await suite.members("gold") == ["bob"]
        assert (await refusal(suite.check("gold", "ada"))).reason == "MEMBER_NOT_FOUND"
        suite.tiers.erase("ada")
    await suite.settled()

    assert await known(suite) == []
    assert await known(suite, "bob") == [(2, "gold"), (2, "gold")]
    for program in ("p1", "p2"):
        assert (await refusal(suite.check("rich", "ada", program))).reason == "MEMBER_NOT_FOUND"
        assert await suite.members("rich", program) == ["bob"]
        assert await suite.members("gold", program) == ["bob"]


async def test_the_same_id_enrolled_again_keeps_nothing_and_loses_nothing(
    suite: AudienceUnderTest,
) -> None:
    await suite.earn("ada", 100)
    suite.tiers.move("ada", "gold")
    await suite.settled()

    # All of it in one go, as somebody sees it who was away; the tiers are late.
    await erase(suite)
    await suite.earn("ada", 7)
    await erase(suite)
    await suite.earn("ada", 30)
    await suite.settled()
    assert await known(suite) == [(2, "gold")]
    suite.tiers.erase("ada")
    suite.tiers.move("ada", "bronze")
    await suite.settled()

    assert await known(suite) == [(2, "bronze")]
    assert (await suite.profiles())["ada"][1] == [30, 30, 30, 30]

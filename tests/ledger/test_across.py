"""Redeeming across the programs of an organization, over a real ledger."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from services.ledger.domain.across import largest_remainder
from tests.ledger.parties_kit import Entry, Party, Redemption, freeze, strategy
from tests.ledger.points_kit import START, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

FIRST, SHARED, OFF = Redemption.FIRST_TO_EXPIRE, Redemption.PROPORTIONAL, Redemption.OFF


async def ada_in(
    ledger: LedgerUnderTest, program: str, points: int, months: int = 12, **more: Any
) -> Party:
    """Ada with points that live so many months, in a program that takes part."""
    redemption = {
        "across_programs": FIRST,
        "reversal": True,
        "conversion_rate": "0.01",
        **more,
    }
    ada = Party(ledger, program)
    await ada.begin(
        points=program_pb2.PointsSettings(expiry=[strategy("f", "FIXED", months)]),
        redemption=program_pb2.RedemptionSettings(**redemption),
        returns=program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.ALLOW_DEBT),
        groups=program_pb2.GroupsSettings(enabled=True),
    )
    if points:
        await ada.earn(points)
    return ada


async def test_what_expires_first_goes_first_and_comes_back(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 100)
    other = await ada_in(ledger, "q", 40, months=3)

    answer = await ada.across(60, request_id="x", reference="order 7")

    assert [(part.program, part.points, part.value.amount) for part in answer.parts] == [
        ("p", 20, "0.20"),
        ("q", 40, "0.40"),
    ]
    assert answer.parts[1].posting.peer_posting == answer.posting.posting
    assert answer.parts[1].posting.reference == "order 7"
    assert answer.account.balances[0].available == 80
    assert (await ada.check(), await other.check()) == ((80, 0, 0, 0), (0, 0, 0, 0))
    again = await ada.across(60, request_id="x", reference="order 7")
    assert again.replayed
    assert (again.posting, list(again.parts)) == (answer.posting, list(answer.parts))
    part = answer.parts[1].posting.posting
    back = await other.reverse(part, "v1", points=30)
    assert back.reversed == 30
    assert [(each.program, sum(e.points for e in each.entries)) for each in back.others] == [
        ("p", 10)
    ]
    assert (await ada.check(), await other.check()) == ((90, 0, 0, 0), (20, 0, 0, 0))
    replayed = await other.reverse(part, "v1", points=30)
    assert replayed.replayed
    assert replayed.reversed == 30
    assert replayed.others[0] == back.others[0]
    exceeds = await refusal(ada.reverse(answer.posting.posting, points=31))
    assert exceeds.metadata == {"available": "30", "required": "31", "shortfall": "1"}
    whole = await ada.reverse(answer.posting.posting)
    assert whole.reversed == 30
    assert (await ada.check(), await other.check()) == ((100, 0, 0, 0), (40, 0, 0, 0))
    nothing = await refusal(ada.reverse(answer.posting.posting))
    assert nothing.reason == "REVERSAL_EXCEEDS"


async def test_in_proportion(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 100, across_programs=SHARED)
    second = await ada_in(ledger, "q", 50)
    third = await ada_in(ledger, "r", 50)

    answer = await ada.across(10)
    rest = await ada.across(190)

    # 5, 2.5 and 2.5: the larger remainder first, then by place.
    assert [part.points for part in answer.parts] == [5, 3, 2]
    assert [part.points for part in rest.parts] == [95, 47, 48]
    for each in (ada, second, third):
        assert await each.check() == (0, 0, 0, 0)


async def test_the_program_addressed_may_give_nothing(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 0)
    other = await ada_in(ledger, "q", 40)

    answer = await ada.across(10)
    back = await ada.reverse(answer.posting.posting)

    assert [(entry.kind, entry.points) for entry in answer.posting.entries] == [(Entry.REDEEMED, 0)]
    assert [(part.program, part.points) for part in answer.parts] == [("q", 10)]
    assert back.reversed == 10
    assert (await ada.check(), await other.check()) == ((0, 0, 0, 0), (40, 0, 0, 0))


async def test_asked_as_if_nothing_is_written(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 10)
    other = await ada_in(ledger, "q", 40)

    as_if = await ada.across(45, validate_only=True)
    short = await refusal(ada.across(51, validate_only=True))

    assert sorted(part.points for part in as_if.parts) == [10, 35]
    assert short.metadata == {"available": "50", "required": "51", "shortfall": "1"}
    assert (await ada.check(), await other.check()) == ((10, 0, 0, 0), (40, 0, 0, 0))


async def test_only_the_programs_that_are_named(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 10)
    await ada_in(ledger, "q", 40)
    await ada_in(ledger, "r", 40)

    answer = await ada.across(50, programs=["p", "r"])

    assert [(part.program, part.points) for part in answer.parts] == [("p", 10), ("r", 40)]
    assert (await refusal(ada.across(1, programs=["r"]))).metadata["available"] == "0"
    assert (await refusal(ada.across(1, programs=["none"]))).reason == "PROGRAM_NOT_FOUND"


async def test_who_cannot_give_is_left_out_unless_named(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 10)
    off = await ada_in(ledger, "off", 40, across_programs=OFF)
    over = await ada_in(ledger, "over", 40, until=moment(START))
    frozen = await ada_in(ledger, "frozen", 40)
    await freeze(frozen)
    indebted = await ada_in(ledger, "debt", 0)
    earned = await indebted.earn(5)
    await indebted.redeem(5)
    await indebted.reverse(earned.posting.posting)
    pooled = await ada_in(ledger, "pooled", 40)
    await pooled.group("family")
    await pooled.join("family")
    later = await ada_in(ledger, "later", 40)
    await later.later(days=1)
    await Party(ledger, "stranger", "bob").begin()

    short = await refusal(ada.across(11))
    expected = {
        "off": ("SETTING_OFF", "setting", "redemption.across_programs"),
        "over": ("PROGRAM_INACTIVE", "until", "2026-01-01T00:00:00Z"),
        "frozen": ("MEMBER_FROZEN", "member", "ada"),
        "debt": ("IN_DEBT", "debt", "5"),
        "pooled": ("PERMISSION_MISSING", "permission", "REDEEM"),
        "later": ("INVALID_FIELD", "field", "programs"),
        "stranger": ("MEMBER_NOT_FOUND", "member", "ada"),
    }

    assert short.metadata["available"] == "10"
    for program, (reason, key, value) in expected.items():
        refused = await refusal(ada.across(1, programs=["p", program]))
        assert (refused.reason, refused.metadata[key]) == (reason, value), program
    await ada.across(10)
    for each in (off, over, frozen):
        assert await each.check() == (40, 0, 0, 0)


async def test_refusals_of_the_program_addressed(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 10)
    off = await ada_in(ledger, "off", 40, across_programs=OFF)
    future = moment(START + timedelta(days=1))
    stale = ledger_pb2.Preconditions(expected_version=9)

    assert (await refusal(off.across(1))).reason == "SETTING_OFF"
    assert (await refusal(ada.across(1, effective_time=future))).reason == (
        "EFFECTIVE_TIME_IN_FUTURE"
    )
    assert (await refusal(ada.across(1, preconditions=stale))).reason == "PRECONDITION_CHANGED"
    assert (await refusal(ada.named("nobody").across(1))).reason == "MEMBER_NOT_FOUND"
    await ada.across(1, request_id="x")
    assert (await refusal(ada.across(2, request_id="x"))).reason == "REQUEST_ID_REUSED"
    await freeze(ada)
    assert (await refusal(ada.across(1))).reason == "MEMBER_FROZEN"


async def test_reversals_asked_for_by_an_operator_may_be_off(ledger: LedgerUnderTest) -> None:
    ada = await ada_in(ledger, "p", 10)
    other = await ada_in(ledger, "q", 40, reversal=False)
    answer = await ada.across(50)

    refused = await refusal(ada.reverse(answer.posting.posting))
    back = await ada.reverse(answer.posting.posting, cause=3)

    assert (refused.reason, refused.metadata) == ("SETTING_OFF", {"setting": "redemption.reversal"})
    assert back.reversed == 50
    assert (await ada.check(), await other.check()) == ((10, 0, 0, 0), (40, 0, 0, 0))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
def test_shares_add_up_and_stay_within(weights: list[int], data: st.DataObject) -> None:
    points = data.draw(st.integers(0, sum(weights)))

    parts = largest_remainder(points, weights)

    assert sum(parts) == points
    for part, weight in zip(parts, weights, strict=True):
        assert 0 <= part <= weight
        assert abs(part - points * weight / max(1, sum(weights))) < 1


@pytest.mark.parametrize(
    "points, weights, parts",
    [(10, [100, 50, 50], [5, 3, 2]), (1, [1, 1, 1], [1, 0, 0]), (0, [0, 0], [0, 0])],
)
def test_shares(points: int, weights: list[int], parts: list[int]) -> None:
    assert largest_remainder(points, weights) == parts

"""Holds, over a real server."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from testkit.keys import metadata, token
from tests.ledger.points_kit import KIND, START, Points, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

STATE = resources_pb2.Hold.State
NOWHERE = "01890000-0000-7000-8000-000000000000"


async def test_a_hold_is_captured_in_part_and_the_rest_comes_back(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(redemption={"conversion_rate": "0.01"})
    await points.earn(100)

    held = await points.hold(60)
    assert await points.check() == (40, 0, 60, 0)
    captured = await points.capture(held.hold.hold, points=25)

    assert await points.check() == (75, 0, 0, 0)
    assert [entry.kind for entry in captured.posting.entries] == [KIND.CAPTURED, KIND.RELEASED]
    assert {entry.related for entry in captured.posting.entries} == {
        held.posting.entries[0].sequence
    }
    assert (captured.value.amount, captured.value.currency) == ("0.25", "USD")
    account = await points.account()
    assert account.balances[0].totals.redeemed == 25


async def test_a_hold_is_answered_as_it_stands(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    lot = (await points.earn(100)).posting.entries[0].lot
    made = [(await points.hold(10 * n)).hold for n in (1, 2, 3)]
    await points.capture(made[0].hold)
    await points.release(made[1].hold)
    await points.later(hours=2)

    found = [
        await ledger.points.GetHold(ledger_pb2.GetHoldRequest(program="p", hold=one.hold))
        for one in made
    ]

    assert [(one.state, one.points, one.captured) for one in found] == [
        (STATE.CAPTURED, 10, 10),
        (STATE.RELEASED, 20, 0),
        (STATE.LAPSED, 30, 0),
    ]
    first = made[0]
    assert (first.member, first.currency, first.create_time, first.expire_time) == (
        "ada", "points", moment(START), moment(START + timedelta(hours=1)),
    )  # fmt: skip
    assert [(draw.lot, draw.points) for draw in first.draws] == [(lot, 10)]
    assert found[0].draws == first.draws
    assert await points.check() == (90, 0, 0, 0)


async def test_holds_are_listed_newest_first(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)
    made = [(await points.hold(10)).hold.hold for _ in range(5)]
    await points.release(made[3])

    async def listed(*, closed: bool) -> list[str]:
        found, page_token = [], ""
        while True:
            page = await ledger.points.ListHolds(
                ledger_pb2.ListHoldsRequest(
                    program="p", member="ada", page_size=2, page_token=page_token,
                    include_closed=closed,
                )
            )  # fmt: skip
            found += [hold.hold for hold in page.holds]
            page_token = page.next_page_token
            if not page_token:
                return found

    assert await listed(closed=True) == made[::-1]
    assert await listed(closed=False) == [made[4], made[2], made[1], made[0]]


async def test_as_if_is_answered_like_the_real_call_and_writes_nothing(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)
    before = await points.entries()

    as_if = await points.hold(60, "h", validate_only=True)
    assert await points.entries() == before
    held = await points.hold(60, "h")
    for call in (points.capture, points.release):
        imagined = await call(held.hold.hold, "c", validate_only=True)
        assert imagined.posting.posting == ""
        assert imagined.hold.state != STATE.OPEN
    captured_as_if = await points.capture(held.hold.hold, "c", points=10, validate_only=True)
    captured = await points.capture(held.hold.hold, "c", points=10)

    for dry, real in ((as_if, held), (captured_as_if, captured)):
        assert _comparable(dry) == _comparable(real)
    await points.check()


def _comparable(answer: Any) -> Any:
    """An answer without what only a written posting has, and without random ids."""
    copy = type(answer)()
    copy.CopyFrom(answer)
    copy.posting.ClearField("posting")
    copy.hold.ClearField("hold")
    for entry in copy.posting.entries:
        entry.ClearField("posting")
    for each in (copy.posting, copy.account, *copy.posting.entries):
        for field in ("record_time", "read_time", "effective_time", "digest"):
            if field in each.DESCRIPTOR.fields_by_name:
                each.ClearField(field)
    copy.hold.ClearField("create_time")
    copy.hold.ClearField("expire_time")
    for entry in copy.posting.entries:
        entry.ClearField("expire_time")
    return copy


async def test_a_request_is_done_once_and_answered_again(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)

    held = await points.hold(60, "h")
    again = await points.hold(60, "h")
    reused = await refusal(points.hold(61, "h"))
    captured = await points.capture(held.hold.hold, "c", points=5)
    # The hold is closed by now, and the first answer still stands.
    captured_again = await points.capture(held.hold.hold, "c", points=5)
    late = await points.hold(60, "h")
    mixed = await refusal(points.release(held.hold.hold, "c"))

    assert (again.replayed, again.posting, again.hold) == (True, held.posting, held.hold)
    assert (reused.reason, mixed.reason) == ("REQUEST_ID_REUSED", "REQUEST_ID_REUSED")
    assert (captured_again.replayed, captured_again.hold) == (True, captured.hold)
    assert (late.replayed, late.hold.state) == (True, STATE.CAPTURED)
    assert await points.check() == (95, 0, 0, 0)


Case = tuple[Callable[[Points, str], Any], str]
REFUSED: dict[str, Case] = {
    "a hold that is nowhere": (
        lambda points, _: points.capture(NOWHERE, "earn"), "HOLD_NOT_FOUND",
    ),
    "a posting that is no hold": (
        lambda points, hold: points.release(_not_a_hold(hold)), "HOLD_NOT_FOUND",
    ),
    "a hold of another member": (
        lambda points, hold: points.capture(hold, member="bob"), "HOLD_NOT_FOUND",
    ),
    "a request id of another request, before the hold is looked at": (
        lambda points, hold: points.capture(hold, "used", points=99), "REQUEST_ID_REUSED",
    ),
    "another version, before the time": (
        lambda points, hold: points.capture(
            hold, preconditions={"expected_version": 9}, effective_time=moment(_tomorrow())
        ),
        "PRECONDITION_CHANGED",
    ),
    "a time to come, before too many points": (
        lambda points, hold: points.capture(
            hold, points=99, effective_time=moment(_tomorrow())
        ),
        "EFFECTIVE_TIME_IN_FUTURE",
    ),
    "more than is held": (
        lambda points, hold: points.capture(hold, points=61), "INSUFFICIENT_POINTS",
    ),
    "releasing for another version": (
        lambda points, hold: points.release(hold, preconditions={"expected_version": 9}),
        "PRECONDITION_CHANGED",
    ),
    "releasing at a time to come": (
        lambda points, hold: points.release(hold, effective_time=moment(_tomorrow())),
        "EFFECTIVE_TIME_IN_FUTURE",
    ),
    "holding for another version": (
        lambda points, _: points.hold(1, preconditions={"expected_version": 9}),
        "PRECONDITION_CHANGED",
    ),
    "holding at a time to come": (
        lambda points, _: points.hold(1, effective_time=moment(_tomorrow())),
        "EFFECTIVE_TIME_IN_FUTURE",
    ),
}  # fmt: skip


def _tomorrow() -> Any:
    return START + timedelta(days=1)


def _not_a_hold(hold: str) -> str:
    """The id of no posting: one digit further in the part that is the place in the stream."""
    return hold[:-1] + ("0" if hold[-1] != "0" else "1")


@pytest.mark.parametrize("name", REFUSED)
async def test_a_call_is_refused_in_the_documented_order(
    ledger: LedgerUnderTest, name: str
) -> None:
    call, reason = REFUSED[name]
    points = await Points(ledger).begin()
    await points.earn(100)
    await points.hold(10, "used")
    held = (await points.hold(60)).hold.hold
    entries = await points.entries()

    assert (await refusal(call(points, held))).reason == reason

    assert await points.entries() == entries
    await points.check()


async def test_a_closed_hold_says_how_it_was_closed(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)
    released, lapsing = (await points.hold(10)).hold.hold, (await points.hold(10)).hold.hold
    await points.release(released)
    await points.later(hours=1)

    refused = [await refusal(points.capture(hold)) for hold in (released, lapsing)]

    assert [(one.reason, one.metadata) for one in refused] == [
        ("HOLD_CLOSED", {"hold": released, "state": "RELEASED"}),
        ("HOLD_CLOSED", {"hold": lapsing, "state": "LAPSED"}),
    ]
    await points.check()


@pytest.mark.own_ledger
async def test_holds_of_another_organization_are_nowhere(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)
    held = (await points.hold(10)).hold.hold
    await ledger.create_organization("rival")
    rival = metadata(token(organization="rival"))

    refused = await refusal(
        ledger.points.GetHold(ledger_pb2.GetHoldRequest(program="p", hold=held), metadata=rival)
    )

    assert refused.reason == "PROGRAM_NOT_FOUND"


async def test_an_expiry_in_the_same_instant_as_a_hold_comes_first(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(
        points={"expiry": [{"strategy": "ten", "kind": "FIXED", "days": 10}]}
    )
    await points.earn(100)
    held = (await points.hold(40, expire_time=moment(START + timedelta(days=20)))).hold.hold
    await points.later(days=10)

    assert (await refusal(points.hold(1))).reason == "INSUFFICIENT_POINTS"
    assert (await refusal(points.redeem(1))).reason == "INSUFFICIENT_POINTS"
    # What a refused command settled stays settled.
    assert await points.check() == (0, 0, 40, 0)
    released = await points.release(held)

    assert [entry.kind for entry in released.posting.entries] == [KIND.RELEASED, KIND.EXPIRED]
    assert await points.check() == (0, 0, 0, 0)


async def test_fifty_holds_and_redemptions_at_once_promise_each_point_once(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin()
    await points.earn(250)

    calls = [points.hold(10) if n % 2 else points.redeem(10) for n in range(50)]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    done = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(done) == 25
    available, pending, held, debt = await points.check()
    assert (available, pending, debt) == (0, 0, 0)
    assert held == 10 * sum(isinstance(answer, ledger_pb2.CreateHoldResponse) for answer in done)


async def test_of_many_who_close_a_hold_one_does(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)
    held = (await points.hold(60)).hold.hold

    calls = [points.capture(held) if n % 2 else points.release(held) for n in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    await points.check()

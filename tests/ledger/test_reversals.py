"""Reversals, activation, freezing and quotes, over a real server."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.ledger.points_kit import CAUSE, KIND, START, Points, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

NOWHERE = "01890000-0000-7000-8000-000000000000"
DEBT = {"returns": {"policy": "ALLOW_DEBT"}}
TEN = {"points": {"expiry": [{"strategy": "ten", "kind": "FIXED", "days": 10}]}}


async def test_an_earning_and_what_it_counted_go_back(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(**DEBT)
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p", counter_id="visits")
    )
    post = ledger_pb2.PostRequest(**points.common())
    post.operations.add().earn.points = 100
    post.operations.add().count.CopyFrom(ledger_pb2.CountOperation(counter="visits", value=1))
    earned = (await ledger.points.Post(post)).posting
    await points.redeem(30)

    part = await points.reverse(earned.posting, points=40)
    rest = await points.reverse(earned.posting, reason="sent back")

    assert [(one.reversed, one.unrecovered, one.expired) for one in (part, rest)] == [
        (40, 0, 0), (60, 0, 0),
    ]  # fmt: skip
    assert [(entry.kind, entry.reason) for entry in rest.posting.entries] == [
        (KIND.EARNING_REVERSED, "sent back"), (KIND.COUNT_REVERSED, "sent back"),
    ]  # fmt: skip
    assert await points.check() == (0, 0, 0, 30)
    assert (await refusal(points.redeem(1))).reason == "IN_DEBT"


async def test_a_redemption_goes_back_by_its_member_or_by_none(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    await points.earn(100)
    redeemed = (await points.redeem(80)).posting.posting

    first = await points.reverse(redeemed, points=30, cause=CAUSE.REWARD_FAILED)
    second = await points.reverse(redeemed, member="", cause=CAUSE.PURCHASE_RETURNED)

    assert [one.reversed for one in (first, second)] == [30, 50]
    assert second.account.member == "ada"
    assert await points.check() == (100, 0, 0, 0)


async def test_what_expired_before_it_came_back_is_said(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(**TEN)
    earned = (await points.earn(100)).posting.posting
    redeemed = (await points.redeem(80)).posting.posting
    await points.later(days=11)

    restored = await points.reverse(redeemed, cause=CAUSE.REWARD_FAILED)
    returned = await points.reverse(earned)

    assert (restored.reversed, restored.expired) == (80, 80)
    # All its lots have expired: nothing is taken from anything else.
    assert (returned.reversed, returned.unrecovered, returned.expired) == (0, 0, 100)
    assert await points.check() == (0, 0, 0, 0)


async def test_hold_return_release_and_redeem_return_restore_give_nothing(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(returns={"policy": "OWN_LOTS_ONLY"})
    for spend in (points.hold, points.redeem):
        earned = (await points.earn(100)).posting.posting
        spent = await spend(70)
        returned = await points.reverse(earned)
        assert (returned.reversed, returned.unrecovered) == (30, 70)
        if spend == points.hold:
            await points.release(spent.hold.hold)
        else:
            await points.reverse(spent.posting.posting, cause=CAUSE.REWARD_FAILED)
        assert await points.check() == (0, 0, 0, 0)


async def test_debt_is_repaid_and_owed_again_when_what_repaid_it_is_reversed(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(**DEBT)
    first = (await points.earn(50)).posting.posting
    await points.redeem(50)
    await points.reverse(first)
    repaying = (await points.earn(80)).posting
    assert [entry.kind for entry in repaying.entries] == [KIND.EARNED, KIND.DEBT_REPAID]

    await points.reverse(repaying.posting)

    assert await points.check() == (0, 0, 0, 50)


async def test_a_hold_lapses_into_a_claim(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(returns={"policy": "OWN_LOTS_ONLY"})
    earned = (await points.earn(100)).posting.posting
    await points.hold(70)
    await points.later(days=40)
    assert await points.check() == (100, 0, 0, 0)
    held = (await points.hold(70)).hold
    await points.reverse(earned)
    await points.later(hours=2)

    assert await points.check() == (0, 0, 0, 0)
    window = resources_pb2.CounterWindow(
        counter="points_earned", period=resources_pb2.CounterWindow.LIFETIME
    )
    account = await ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(program="p", member="ada", windows=[window])
    )
    assert (account.counters[0].value, held.points) == (0, 70)


async def test_reversing_as_if_answers_the_same_and_writes_nothing(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(**TEN)
    earned = (await points.earn(100)).posting.posting
    await points.redeem(60)
    await points.earn(5)
    before = await points.entries()

    as_if = await points.reverse(earned, "v", validate_only=True)
    assert await points.entries() == before
    real = await points.reverse(earned, "v")
    again = await points.reverse(earned, "v")

    assert (as_if.reversed, as_if.unrecovered) == (real.reversed, real.unrecovered) == (45, 55)
    assert [entry.draws for entry in as_if.posting.entries] == [
        entry.draws for entry in real.posting.entries
    ]
    assert (again.replayed, again.posting, again.unrecovered) == (True, real.posting, 55)
    assert (await refusal(points.reverse(earned, "v", points=1))).reason == "REQUEST_ID_REUSED"
    assert (await refusal(points.reverse(earned))).reason == "REVERSAL_EXCEEDS"
    await points.check()


Case = tuple[Callable[[Points, str, str], Any], str]
REFUSED: dict[str, Case] = {
    "no posting": (lambda p, *_: p.reverse(NOWHERE, "used"), "POSTING_NOT_FOUND"),
    "another member's": (lambda p, e, _: p.reverse(e, member="bob"), "POSTING_NOT_FOUND"),
    "points and parts": (
        lambda p, e, _: p.reverse(e, points=1, parts=[{"entry": 2, "points": 1}]),
        "INVALID_FIELD",
    ),
    "an entry twice": (
        lambda p, e, _: p.reverse(e, parts=[{"entry": 2, "points": 1}] * 2), "INVALID_FIELD",
    ),
    "a used request id": (lambda p, e, _: p.reverse(e, "used", points=9), "REQUEST_ID_REUSED"),
    "another version": (
        lambda p, e, _: p.reverse(
            e, preconditions={"expected_version": 9},
            effective_time=moment(START + timedelta(days=1)),
        ),
        "PRECONDITION_CHANGED",
    ),
    "a time to come": (
        lambda p, e, _: p.reverse(
            e, points=999, effective_time=moment(START + timedelta(days=1))
        ),
        "EFFECTIVE_TIME_IN_FUTURE",
    ),
    "no entry of it": (
        lambda p, e, _: p.reverse(e, parts=[{"entry": 99, "points": 1}]), "NOT_REVERSIBLE",
    ),
    "a redemption by an operator": (lambda p, _, r: p.reverse(r, points=999), "SETTING_OFF"),
    "more than is left": (lambda p, e, _: p.reverse(e, points=101), "REVERSAL_EXCEEDS"),
    "activating where it is off": (
        lambda p, *_: p.activate(currency="miles"), "SETTING_OFF",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_a_call_is_refused_in_the_documented_order(
    ledger: LedgerUnderTest, name: str
) -> None:
    call, reason = REFUSED[name]
    points = await Points(ledger).begin()
    earned = (await points.earn(100)).posting.posting
    redeemed = (await points.redeem(10)).posting.posting
    await points.hold(1, "used")
    entries = await points.entries()

    assert (await refusal(call(points, earned, redeemed))).reason == reason

    assert await points.entries() == entries
    await points.check()


async def test_of_many_partial_returns_at_once_no_more_is_taken_than_was_earned(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(**DEBT)
    earned = (await points.earn(100)).posting.posting
    await points.redeem(100)

    calls = [points.reverse(earned, points=30) for _ in range(10)]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert sum(not isinstance(answer, BaseException) for answer in answers) == 3
    assert await points.check() == (0, 0, 0, 90)


# Activation


async def test_pending_points_are_activated_once(ledger: LedgerUnderTest) -> None:
    settings = {"points": {"pending_conversion": True, **TEN["points"]}}
    points = await Points(ledger).begin(**settings)
    late = {"mature_time": moment(START + timedelta(days=100))}
    given = (await points.earn(10, **late)).posting
    await points.earn(20, **late)
    lots = await ledger.points.ListLots(ledger_pb2.ListLotsRequest(program="p", member="ada"))
    await points.later(days=1)

    as_if = await points.activate("a", posting=given.posting, validate_only=True)
    activated = await points.activate("a", posting=given.posting)
    again = await points.activate("a", posting=given.posting)
    by_lot = await points.activate(lot=lots.lots[0].lot)

    (entry,) = activated.posting.entries
    assert (entry.kind, entry.lot) == (KIND.MATURED, given.entries[0].lot)
    assert entry.expire_time == moment(points.now + timedelta(days=10))
    assert as_if.posting.entries[0].change == entry.change
    assert (again.replayed, again.posting) == (True, activated.posting)
    assert [one.lot for one in by_lot.posting.entries] == [lots.lots[0].lot]
    assert await points.check() == (30, 0, 0, 0)
    assert (await refusal(points.activate())).reason == "NOTHING_PENDING"
    assert (await refusal(points.activate(posting=NOWHERE))).reason == "POSTING_NOT_FOUND"
    await points.later(days=10)
    assert await points.check() == (0, 0, 0, 0)


# Freezing


def _freezing(points: Points, verb: str, request_id: str = "", **more: Any) -> Any:
    request = getattr(account_pb2, f"{verb}MemberRequest")
    call = getattr(points.ledger.members, f"{verb}Member")
    return call(request(**{**points.common(request_id), "reason": "a complaint", **more}))


async def test_a_frozen_member_moves_no_points_and_time_goes_on(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(**TEN)
    earned = (await points.earn(100)).posting.posting
    held = (await points.hold(60)).hold.hold
    as_if = await _freezing(points, "Freeze", "f", validate_only=True)
    assert as_if.account.state == resources_pb2.Account.FROZEN
    frozen = await _freezing(points, "Freeze", "f")
    again = await _freezing(points, "Freeze", "f")

    refused = [
        (await refusal(call)).reason
        for call in (
            points.earn(1), points.redeem(1), points.hold(1), points.capture(held),
            points.release(held), points.reverse(earned), points.activate(),
            _freezing(points, "Freeze"),
        )
    ]  # fmt: skip

    assert set(refused) == {"MEMBER_FROZEN"}
    (entry,) = frozen.posting.entries
    assert (entry.kind, entry.reason, entry.points) == (KIND.FROZEN, "a complaint", 0)
    assert (again.replayed, again.posting) == (True, frozen.posting)
    await points.later(hours=2)
    assert await points.check() == (100, 0, 0, 0), "the hold lapsed"
    thawed = await _freezing(points, "Unfreeze", reason="all is well")
    assert thawed.account.state == resources_pb2.Account.OPEN
    assert (await refusal(_freezing(points, "Unfreeze"))).reason == "MEMBER_NOT_FROZEN"
    await points.redeem(100)
    assert await points.check() == (0, 0, 0, 0)


# Quotes


async def test_a_quote_says_what_a_redemption_would_be(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(redemption={"conversion_rate": "0.01", "step": 30})
    lots = [(await points.earn(50)).posting.entries[0].lot for _ in range(2)]
    entries = await points.entries()

    most, some = await points.quote(), await points.quote(points=60)

    assert (most.redeemable, most.points, most.redeemable_points) == (True, 90, 90)
    assert (most.value.amount, most.available) == ("0.90", 100)
    assert [(draw.lot, draw.points) for draw in some.draws] == [(lots[0], 50), (lots[1], 10)]
    assert await points.entries() == entries
    redeemed = await points.redeem(60)
    assert (redeemed.posting.entries[0].draws, redeemed.value) == (some.draws, some.value)


QUOTES: dict[str, tuple[dict[str, Any], int, tuple[int, int], str]] = {
    "no multiple of the step": ({"step": 30}, 31, (31, 90), "NOT_A_MULTIPLE_OF_STEP"),
    "too many": ({}, 101, (101, 100), "INSUFFICIENT_POINTS"),
    "below the minimum balance": (
        {"minimum_balance": 101}, 0, (0, 0), "BELOW_MINIMUM_BALANCE",
    ),
    "after the last day": ({"until": moment(START)}, 0, (0, 0), "PROGRAM_INACTIVE"),
}  # fmt: skip


@pytest.mark.parametrize("name", QUOTES)
async def test_a_quote_says_why_not(ledger: LedgerUnderTest, name: str) -> None:
    settings, asked, (quoted, most), reason = QUOTES[name]
    points = await Points(ledger).begin(redemption=settings)
    await points.earn(100)

    quote = await points.quote(points=asked)

    assert (quote.redeemable, quote.points, quote.redeemable_points) == (False, quoted, most)
    assert reason in str(quote.refusal)
    assert not quote.draws


async def test_a_quote_in_an_unknown_currency_is_refused(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()

    assert (await refusal(points.quote(currency="miles"))).reason == "CURRENCY_NOT_FOUND"


# Notice


async def test_notice_is_given_by_the_job_of_a_sandbox(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(points={"expiry_notice_days": 3, **TEN["points"]})
    await points.earn(100)
    await points.later(days=8)

    noticed = [each for each in await points.entries() if each.kind == KIND.EXPIRY_NOTICED]

    assert [(e.requested, e.expire_time, e.effective_time) for e in noticed] == [
        (100, moment(START + timedelta(days=10)), moment(START + timedelta(days=7)))
    ]
    await points.later(days=1)
    assert await points.check() == (100, 0, 0, 0)
    assert sum(e.kind == KIND.EXPIRY_NOTICED for e in await points.entries()) == 1
    await points.later(days=1)
    assert await points.check() == (0, 0, 0, 0)


@pytest.mark.own_ledger
async def test_notice_that_is_turned_on_later_is_given_of_what_was_there_before(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(**TEN)
    await points.earn(100)
    await points.later(days=8)
    update = program_pb2.UpdateProgramSettingsRequest(program="p", reason="a trial")
    update.settings.points.expiry_notice_days = 3
    update.update_mask.paths.append("points.expiry_notice_days")
    await ledger.programs.UpdateProgramSettings(update)
    assert all(each.kind != KIND.EXPIRY_NOTICED for each in await points.entries())

    await points.later(minutes=1)

    noticed = [each for each in await points.entries() if each.kind == KIND.EXPIRY_NOTICED]
    assert [each.effective_time for each in noticed] == [moment(START + timedelta(days=7))]
    assert await ledger.rows.fetchval("SELECT count(*) FROM waking") == 0
    assert await points.check() == (100, 0, 0, 0)


async def test_what_a_command_makes_due_is_settled_with_everything_that_was_there(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin(points={"expiry_notice_days": 30, **TEN["points"]})
    await points.earn(1, mature_time=moment(START + timedelta(days=5)))
    batch = ledger_pb2.BatchPostRequest(program="p")
    for _ in range(3):
        # Its notice is due as soon as it is there.
        request = batch.requests.add(member="ada", request_id=points.common()["request_id"])
        request.operations.add().earn.points = 10
    await ledger.points.BatchPost(batch)

    assert await points.check() == (30, 1, 0, 0)
    await points.later(days=5)
    assert await points.check() == (31, 0, 0, 0)

"""Giving points to another member, over a real ledger."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from tests.ledger.parties_kit import Entry, Party, freeze, strategy, transfers
from tests.ledger.points_kit import START, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

YEAR = strategy("year", "FIXED", 12)
IDLE = strategy("idle", "INACTIVITY", 6)


async def two(ledger: LedgerUnderTest, **settings: Any) -> tuple[Party, Party]:
    """Ada with 100 points and bob with none, where points can be given."""
    given = {"transfer": transfers(), **settings}
    ada = Party(ledger)
    await ada.begin(**given)
    bob = await ada.other("bob")
    await ada.earn(100)
    return ada, bob


async def test_points_go_to_another_member(ledger: LedgerUnderTest) -> None:
    points = program_pb2.PointsSettings(expiry=[YEAR])
    ada, bob = await two(ledger, points=points)

    answer = await ada.transfer(30, "bob", reason="a birthday", reference="card 7")

    (out,), (came,) = answer.posting.entries, answer.received.entries
    assert (out.kind, out.points, out.counterpart, out.reason) == (
        Entry.TRANSFERRED_OUT, -30, "bob", "a birthday",
    )  # fmt: skip
    assert (came.kind, came.points, came.counterpart) == (Entry.TRANSFERRED_IN, 30, "ada")
    assert came.expire_time == moment(START.replace(year=2027))
    assert answer.posting.peer_posting == answer.received.posting
    assert answer.received.peer_posting == answer.posting.posting
    assert (answer.received.member, answer.received.reference) == ("bob", "card 7")
    assert answer.account.balances[0].available == 70
    assert (await ada.check(), await bob.check()) == ((70, 0, 0, 0), (30, 0, 0, 0))
    stored = await ledger.points.GetPosting(
        ledger_pb2.GetPostingRequest(program="p", posting=answer.received.posting)
    )
    assert stored == answer.received
    assert (await bob.entries())[-1] == came


async def test_a_repeated_request_is_answered_with_both_sides(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger)
    request = ada.transferring(30, "bob")
    first = await ledger.points.TransferPoints(request)

    again = await ledger.points.TransferPoints(request)
    request.points = 31
    other = await refusal(ledger.points.TransferPoints(request))

    assert again.replayed
    assert (again.posting, again.received) == (first.posting, first.received)
    assert (other.reason, other.metadata["posting"]) == (
        "REQUEST_ID_REUSED",
        first.posting.posting,
    )
    assert await bob.check() == (30, 0, 0, 0)


async def test_asked_as_if_nothing_is_written(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger)
    request = ada.transferring(30, "bob", validate_only=True)

    as_if = await ledger.points.TransferPoints(request)
    unchanged = (await ada.check(), await bob.check())
    request.validate_only = False
    real = await ledger.points.TransferPoints(request)

    assert unchanged == ((100, 0, 0, 0), (0, 0, 0, 0))
    assert as_if.account.balances == real.account.balances
    for mine, its in ((as_if.posting, real.posting), (as_if.received, real.received)):
        assert mine.posting == ""
        assert [(e.kind, e.points, e.change, e.after) for e in mine.entries] == [
            (e.kind, e.points, e.change, e.after) for e in its.entries
        ]
    request.points, request.validate_only, request.request_id = 71, True, "more"
    refused = await refusal(ledger.points.TransferPoints(request))
    assert refused.reason == "INSUFFICIENT_POINTS"


async def test_the_version_of_both_goes_up(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger)
    before = (await ada.read()).version, (await bob.read()).version

    answer = await ada.transfer(30, "bob")

    assert ((await ada.read()).version, (await bob.read()).version) == (
        before[0] + 1, before[1] + 1,
    )  # fmt: skip
    assert (answer.posting.version, answer.received.version) == (before[0] + 1, before[1] + 1)
    stale = ledger_pb2.Preconditions(expected_version=before[0])
    refused = await refusal(ada.transfer(1, "bob", preconditions=stale))
    assert refused.reason == "PRECONDITION_CHANGED"


async def test_lots_go_first_to_expire_first_with_their_dates(ledger: LedgerUnderTest) -> None:
    month = strategy("month", "FIXED", 1)
    points = program_pb2.PointsSettings(expiry=[YEAR, month, IDLE])
    ada, bob = await two(ledger, points=points)
    await ada.earn(10, expiry="month")
    await ada.earn(5, expiry="idle")
    await ada.later(days=10)
    await ada.earn(1)

    answer = await ada.transfer(20, "bob")

    assert [(entry.points, entry.expire_time) for entry in answer.received.entries] == [
        (10, moment(START.replace(month=2))),
        # Of points that expire by inactivity the clock was set by what ada did.
        (5, moment((START + timedelta(days=10)).replace(month=7))),
        (5, moment(START.replace(year=2027))),
    ]
    await ada.check()
    await bob.check()
    await ada.later(days=21)
    assert await bob.check() == (10, 0, 0, 0)


async def test_a_transfer_is_no_activity_and_no_earning(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger)

    await ada.transfer(30, "bob")

    account = await bob.read()
    assert not account.HasField("last_activity_time")
    assert await bob.lifetime("points_earned") == [0]
    assert account.balances[0].totals.transferred_in == 30
    assert (await ada.read()).balances[0].totals.transferred_out == 30


@pytest.mark.parametrize(
    "limits, points, limit_name, fits",
    [
        ({"minimum": 5}, 4, "transfer.minimum", 5),
        ({"maximum": 40}, 41, "transfer.maximum", 40),
        ({"monthly_points": 60}, 51, "transfer.monthly_points", 50),
    ],
)
async def test_limits_of_points(
    ledger: LedgerUnderTest, limits: dict[str, int], points: int, limit_name: str, fits: int
) -> None:
    ada, bob = await two(ledger, transfer=transfers(**limits))
    given = 10 if limit_name == "transfer.monthly_points" else 0
    if given:
        await ada.transfer(given, "bob")

    refused = await refusal(ada.transfer(points, "bob"))
    await ada.transfer(fits, "bob")

    assert (refused.reason, refused.metadata["limit_name"]) == ("LIMIT_REACHED", limit_name)
    assert await bob.available() == given + fits


async def test_the_count_of_a_local_month(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger, transfer=transfers(monthly_count=2, monthly_points=20))
    await ada.transfer(10, "bob")
    await ada.transfer(10, "bob")

    refused = await refusal(ada.transfer(1, "bob"))
    await ada.later(days=31)
    await ada.transfer(20, "bob")

    assert (refused.metadata["limit_name"], refused.metadata["count"]) == (
        "transfer.monthly_count",
        "2",
    )
    full = await refusal(ada.transfer(1, "bob"))
    assert full.metadata["limit_name"] == "transfer.monthly_points"
    assert await bob.available() == 40
    await ada.check()


async def test_young_points_stay(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger, transfer=transfers(minimum_age_days=9))
    await ada.later(days=8)
    await ada.earn(7)

    young = await refusal(ada.transfer(1, "bob"))
    await ada.later(days=1)
    too_many = await refusal(ada.transfer(101, "bob"))
    await ada.transfer(100, "bob")

    assert (young.reason, young.metadata["available"]) == ("INSUFFICIENT_POINTS", "0")
    assert too_many.metadata == {"available": "100", "required": "101", "shortfall": "1"}
    # The age of points goes with them.
    await bob.transfer(100, "ada")
    assert (await ada.check(), await bob.check()) == ((107, 0, 0, 0), (0, 0, 0, 0))


async def test_the_recipient_has_room_for_it(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger, points=program_pb2.PointsSettings(maximum_balance=100))
    await bob.earn(60)

    refused = await refusal(ada.transfer(41, "bob"))
    await ada.transfer(40, "bob")

    assert (refused.reason, refused.metadata["limit_name"], refused.metadata["count"]) == (
        "LIMIT_REACHED", "points.maximum_balance", "60",
    )  # fmt: skip
    assert await bob.check() == (100, 0, 0, 0)


async def test_what_comes_repays_debt(ledger: LedgerUnderTest) -> None:
    returns = program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.ALLOW_DEBT)
    ada, bob = await two(ledger, returns=returns)
    earned = await bob.earn(20)
    await bob.redeem(20)
    await bob.reverse(earned.posting.posting)

    owing = await refusal(bob.transfer(1, "ada"))
    answer = await ada.transfer(30, "bob")

    assert (owing.reason, owing.metadata["debt"]) == ("IN_DEBT", "20")
    assert [entry.kind for entry in answer.received.entries] == [
        Entry.TRANSFERRED_IN,
        Entry.DEBT_REPAID,
    ]
    assert await bob.check() == (10, 0, 0, 0)


async def test_refusals_in_their_order(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger, transfer=program_pb2.TransferSettings(minimum=5))
    future = moment(START + timedelta(days=1))

    nobody = await refusal(ada.transfer(1, "nobody"))
    stranger = await refusal(ada.named("stranger").transfer(1, "bob"))
    self = await refusal(ada.transfer(1, "ada", effective_time=future))
    late = await refusal(ada.transfer(1, "bob", effective_time=future))
    off = await refusal(ada.transfer(1, "bob", currency="none"))
    await freeze(bob)
    frozen_bob = await refusal(ada.transfer(1, "bob"))
    await freeze(ada)
    frozen_ada = await refusal(ada.transfer(1, "bob"))

    assert (nobody.reason, nobody.metadata) == ("MEMBER_NOT_FOUND", {"member": "nobody"})
    assert (stranger.reason, stranger.metadata) == ("MEMBER_NOT_FOUND", {"member": "stranger"})
    assert (self.reason, self.fields) == ("INVALID_FIELD", ("recipient",))
    assert late.reason == "EFFECTIVE_TIME_IN_FUTURE"
    assert (off.reason, off.metadata) == ("SETTING_OFF", {"setting": "transfer.enabled"})
    assert (frozen_bob.reason, frozen_bob.metadata) == ("MEMBER_FROZEN", {"member": "bob"})
    assert (frozen_ada.reason, frozen_ada.metadata) == ("MEMBER_FROZEN", {"member": "ada"})


async def test_an_unknown_currency_and_too_many_points(ledger: LedgerUnderTest) -> None:
    ada, bob = await two(ledger)
    most = 10**15
    await bob.earn(most)

    unknown = await refusal(ada.transfer(1, "bob", currency="none"))
    short = await refusal(ada.transfer(101, "bob"))
    overflow = await refusal(ada.transfer(1, "bob"))

    assert unknown.reason == "CURRENCY_NOT_FOUND"
    assert short.metadata == {"available": "100", "required": "101", "shortfall": "1"}
    assert overflow.reason == "POINTS_OVERFLOW"
    assert (await ada.check(), await bob.check()) == ((100, 0, 0, 0), (most, 0, 0, 0))


@pytest.mark.own_ledger
async def test_what_fell_due_meanwhile_is_posted_for_both(ledger: LedgerUnderTest) -> None:
    points = program_pb2.PointsSettings(expiry=[YEAR])
    ada, bob = await two(ledger, points=points)
    await bob.earn(5)
    ada.now = bob.now = START + timedelta(days=365)
    await ledger.rows.execute("UPDATE program SET clock = $1 WHERE id = 'p'", ada.now)

    refused = await refusal(ada.transfer(1, "bob"))

    assert refused.metadata["available"] == "0"
    for who in (ada, bob):
        assert (await who.entries())[-1].kind == Entry.EXPIRED
        await who.check()

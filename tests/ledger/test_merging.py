"""Merging a member into another one, over a real ledger."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2
from tests.ledger.parties_kit import Entry, Party, freeze, strategy, transfers
from tests.ledger.points_kit import START, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

GENERAL = program_pb2.GeneralSettings(auto_enrol=True)


async def two(ledger: LedgerUnderTest, program: str = "p", **settings: Any) -> tuple[Party, Party]:
    """The members `old` with 100 points and `new` with 5."""
    old = Party(ledger, program, "old")
    await old.begin(program=GENERAL, **settings)
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program=program, counter_id="visits")
    )
    new = await old.other("new")
    await old.earn(100)
    await new.earn(5)
    return old, new


async def test_points_move_and_the_old_id_means_the_new(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger)
    first = await old.earn(1, request_id="before")

    answer = await old.merge("new", request_id="merge", reason="the same person")

    assert [entry.kind for entry in answer.posting.entries] == [Entry.LINKED, Entry.MOVED_OUT]
    assert answer.posting.entries[0].counterpart == "new"
    assert [(entry.points, entry.counterpart) for entry in answer.received.entries[:2]] == [
        (100, "old"),
        (1, "old"),
    ]
    assert (answer.account.member, answer.account.balances[0].available) == ("new", 106)
    later = await old.earn(7, request_id="after")
    assert (later.posting.member, later.posting.account_member) == ("old", "new")
    assert later.posting.entries[0].attributed_member == "old"
    assert (later.account.member, later.account.addressed_member) == ("new", "old")
    assert later.account.balances[0].available == 113
    for request_id, points, posting in (("before", 1, first), ("after", 7, later)):
        again = await old.earn(points, request_id=request_id)
        assert again.replayed
        assert again.posting == posting.posting
        reused = await refusal(old.earn(points + 1, request_id=request_id))
        assert reused.metadata["posting"] == posting.posting.posting
    own = await old.read(own=True)
    assert (own.member, own.addressed_member, own.balances[0].available) == ("old", "", 0)
    # Request ids of both stay apart.
    assert not (await new.earn(1, request_id="before")).replayed
    await old.verified("old", "new")


async def test_a_repeated_merge_is_answered_with_both_sides(ledger: LedgerUnderTest) -> None:
    old, _ = await two(ledger)
    first = await old.merge("new", request_id="merge")

    again = await old.merge("new", request_id="merge")

    assert again.replayed
    assert (again.posting, again.received) == (first.posting, first.received)
    assert again.account.member == "new"


async def test_asked_as_if_nothing_is_written(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger)

    as_if = await old.merge("new", request_id="merge", validate_only=True)
    assert (await old.check(), await new.check()) == ((100, 0, 0, 0), (5, 0, 0, 0))
    real = await old.merge("new", request_id="merge")

    assert as_if.posting.posting == ""
    assert as_if.account.balances == real.account.balances
    assert [entry.kind for entry in as_if.received.entries] == [
        entry.kind for entry in real.received.entries
    ]
    refused = await refusal(old.merge("new", validate_only=True))
    assert refused.reason == "MEMBER_MERGED"


async def test_lots_keep_their_dates(ledger: LedgerUnderTest) -> None:
    points = program_pb2.PointsSettings(
        expiry=[strategy("year", "FIXED", 12), strategy("idle", "INACTIVITY", 2)]
    )
    old, new = await two(ledger, points=points)
    await old.earn(10, expiry="idle")
    await old.earn(20, mature_time=moment(START + timedelta(days=50)))
    await new.later(days=40)
    await new.earn(1)

    await old.merge("new")

    lots = await ledger.points.ListLots(ledger_pb2.ListLotsRequest(program="p", member="new"))
    seen = {lot.points: (lot.earn_time, lot.expire_time) for lot in lots.lots}
    assert seen[100] == (moment(START), moment(START.replace(year=2027)))
    # What the remaining member did last keeps all of its points alive.
    assert seen[10][1] == moment((START + timedelta(days=40)).replace(month=4))
    assert await new.check() == (116, 20, 0, 0)
    await new.later(days=10)
    assert await new.check() == (136, 0, 0, 0)
    await old.verified("old")


async def test_counters_add_up_on_their_days(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger)
    await old.count(3, effective_time=moment(START - timedelta(days=40)))
    await old.count(4)
    await new.count(10)

    await old.merge("new")

    assert await new.lifetime("visits", "points_earned") == [17, 105]
    await old.count(1)
    assert await old.lifetime("visits") == [18]
    await old.verified("old", "new")


async def test_debt_moves_and_is_repaid(ledger: LedgerUnderTest) -> None:
    returns = program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.ALLOW_DEBT)
    old, new = await two(ledger, returns=returns)
    earned = await old.earn(30)
    await old.redeem(130)
    await old.reverse(earned.posting.posting)
    assert await old.check() == (0, 0, 0, 30)

    answer = await old.merge("new")

    assert answer.account.balances[0].debt == 25
    assert await new.check() == (0, 0, 0, 25)
    await old.earn(26)
    assert await new.check() == (1, 0, 0, 0)
    assert await old.available(own=True) == 0
    await old.verified("old", "new")


async def test_points_repay_the_debt_of_who_remains(ledger: LedgerUnderTest) -> None:
    returns = program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.ALLOW_DEBT)
    old, new = await two(ledger, returns=returns)
    earned = await new.earn(30)
    await new.redeem(35)
    await new.reverse(earned.posting.posting)

    await old.merge("new")

    assert await new.check() == (70, 0, 0, 0)


async def test_what_was_earned_before_is_reversed_from_what_moved(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger)
    first = await old.earn(60)
    spent = await old.redeem(20)
    await old.merge("new")

    answer = await old.reverse(first.posting.posting, "v1", points=45)
    back = await old.reverse(spent.posting.posting, "v2", cause=2)

    assert (answer.reversed, answer.unrecovered) == (45, 0)
    assert (answer.posting.member, answer.posting.account_member) == ("old", "new")
    assert back.reversed == 20
    assert await new.check() == (120, 0, 0, 0)
    assert await old.lifetime("points_earned") == [120]
    again = await old.reverse(first.posting.posting, "v1", points=45)
    assert again.replayed
    assert again.posting == answer.posting
    exceeds = await refusal(old.reverse(first.posting.posting, points=16))
    assert exceeds.metadata["available"] == "15"
    await old.verified("old", "new")


async def test_one_after_the_other(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger)
    last = await old.other("last")
    first = await old.earn(1, request_id="e")
    await old.merge("new")
    second = await old.earn(2, request_id="f")

    await new.merge("last", request_id="m")

    assert (await old.read()).member == "last"
    assert await last.available() == 108
    for request_id, points, posting in (("e", 1, first), ("f", 2, second)):
        again = await old.earn(points, request_id=request_id)
        assert again.replayed
        assert again.posting == posting.posting
    third = await old.earn(4)
    assert (third.posting.account_member, third.account.balances[0].available) == ("last", 112)
    answer = await old.reverse(first.posting.posting)
    assert answer.reversed == 1
    await old.verified("old", "new", "last")


async def test_a_merge_is_of_all_programs(ledger: LedgerUnderTest) -> None:
    old, _ = await two(ledger)
    elsewhere = Party(ledger, "q", "old")
    await elsewhere.begin(program=GENERAL)
    await elsewhere.earn(40)
    await Party(ledger, "r", "bystander").begin(program=GENERAL)

    await old.merge("new")

    assert await old.named("new", "q").available() == 40
    read = await elsewhere.read()
    assert (read.member, read.addressed_member) == ("new", "old")
    # In a program that the old member never was in, the old id is the new member from the start.
    third = await old.named("old", "r").earn(3)
    assert (third.posting.member, third.account.member) == ("new", "new")
    assert (third.account.addressed_member, third.posting.account_member) == ("old", "")
    assert await old.named("new", "r").available() == 3
    await elsewhere.verified("old", "new")


async def test_what_the_other_program_refuses_refuses_all(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger)
    elsewhere = Party(ledger, "q", "old")
    await elsewhere.begin(program=GENERAL)
    await elsewhere.earn(40)
    await elsewhere.hold(10)

    refused = await refusal(old.merge("new"))

    assert (refused.reason, refused.metadata) == ("HOLD_OPEN", {"count": "1"})
    assert (await old.check(), await new.check()) == ((100, 0, 0, 0), (5, 0, 0, 0))
    assert (await refusal(elsewhere.named("new").read())).reason == "MEMBER_NOT_FOUND"
    await freeze(elsewhere)
    assert (await refusal(old.merge("new"))).reason == "MEMBER_FROZEN"


async def test_refusals_in_their_order(ledger: LedgerUnderTest) -> None:
    old, new = await two(ledger, groups=program_pb2.GroupsSettings(enabled=True))
    await old.group("family")
    third = await old.other("third")
    await third.join("family")

    assert (await refusal(old.merge("nobody"))).metadata == {"member": "nobody"}
    assert (await refusal(old.named("nobody").merge("new"))).reason == "MEMBER_NOT_FOUND"
    itself = await refusal(old.merge("old"))
    assert (itself.reason, itself.fields) == ("INVALID_FIELD", ("into",))
    assert (await refusal(old.named("family").merge("new"))).fields == ("member",)
    assert (await refusal(old.merge("family"))).fields == ("into",)
    for call in (third.merge("new"), old.merge("third")):
        in_group = await refusal(call)
        assert (in_group.reason, in_group.metadata) == (
            "MEMBER_IN_GROUP",
            {"member": "third", "group": "family"},
        )
    await freeze(new)
    assert (await refusal(old.merge("new"))).metadata == {"member": "new"}
    await ledger.members.UnfreezeMember(
        account_pb2.UnfreezeMemberRequest(
            program="p", member="new", request_id="thaw", reason="cleared"
        )
    )
    await old.merge("new", request_id="m")
    for call in (old.merge("third"), third.merge("old")):
        merged = await refusal(call)
        assert merged.reason in {"MEMBER_MERGED", "MEMBER_IN_GROUP"}
    assert (await refusal(old.merge("new"))).metadata == {"member": "new"}


async def test_a_merged_member_gives_receives_and_holds_as_the_other(
    ledger: LedgerUnderTest,
) -> None:
    old, new = await two(ledger, transfer=transfers())
    bob = await old.other("bob")
    await old.merge("new")

    given = await old.transfer(10, "bob")
    back = await bob.transfer(4, "old")
    own = await refusal(old.transfer(1, "new"))
    held = await old.hold(20)
    await new.release(held.hold.hold)

    assert (given.posting.member, given.posting.account_member) == ("old", "new")
    assert given.received.entries[0].counterpart == "old"
    assert (back.received.member, back.received.account_member) == ("old", "new")
    assert own.fields == ("recipient",)
    assert await new.check() == (99, 0, 0, 0)
    await old.verified("old", "new", "bob")


async def test_a_return_of_what_was_spent_before_the_merge_stays_a_claim(
    ledger: LedgerUnderTest,
) -> None:
    returns = program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.OWN_LOTS_ONLY)
    redemption = program_pb2.RedemptionSettings(reversal=True)
    old, _ = await two(ledger, returns=returns, redemption=redemption)
    earned = await old.earn(20)
    spent = await old.redeem(120)
    await old.merge("new")

    returned = await old.reverse(earned.posting.posting, points=15)
    again = await old.reverse(earned.posting.posting)
    back = await old.reverse(spent.posting.posting, points=17)

    assert [(each.reversed, each.unrecovered) for each in (returned, again)] == [(0, 15), (0, 5)]
    assert back.reversed == 17
    # Of the 120 that come back, 20 were earned by the purchase that was returned.
    assert await old.available() == 5
    await old.reverse(spent.posting.posting)
    assert await old.available() == 105
    await old.verified("old", "new")

"""Groups and fleets over a real ledger: whose points are whose, and who may do what."""

import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from tests.ledger.parties_kit import ON, Account, Entry, Party, Rules, contributed, family
from tests.ledger.points_kit import START, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger


async def test_what_members_earn_is_the_groups(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger)

    joined = await ada.join("family")
    earned = await ada.earn(20, request_id="e2")

    assert [entry.kind for entry in joined.posting.entries] == [Entry.LINKED, Entry.MOVED_OUT]
    assert (joined.account.member, joined.account.group) == ("ada", "family")
    assert [entry.points for entry in joined.received.entries] == [100]
    assert (earned.posting.member, earned.posting.account_member) == ("ada", "family")
    assert earned.posting.entries[0].attributed_member == "ada"
    assert (earned.account.member, earned.account.addressed_member) == ("family", "ada")
    assert earned.account.balances[0].available == 120
    read = await ada.read()
    assert (read.member, read.addressed_member, read.kind) == ("family", "ada", Account.GROUP)
    own = await ada.read(own=True)
    assert (own.member, own.group, own.kind, own.balances[0].available) == (
        "ada", "family", Account.PERSON, 0,
    )  # fmt: skip
    assert await contributed(ledger) == {"ada": 120}
    again = await ada.earn(20, request_id="e2")
    assert again.replayed
    assert (again.posting, again.account.member) == (earned.posting, "family")
    assert (await refusal(ada.earn(21, request_id="e2"))).reason == "REQUEST_ID_REUSED"
    assert await group.check() == (120, 0, 0, 0)
    await ada.verified("ada")


async def test_counts_are_the_groups(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await ada.count(5)
    await ada.join("family")
    await bob.join("family")

    await ada.count(1)
    await bob.count(2)

    assert await group.lifetime("visits", "points_earned") == [3, 0]
    assert await ada.lifetime("visits") == [3]
    await ada.leave("family")
    assert await ada.lifetime("visits") == [5]


async def test_what_is_left_behind_is_there_afterwards(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger, rules=Rules(on_join=Rules.LEAVE_BEHIND))

    joined = await ada.join("family", role="owner")
    await ada.earn(20)
    spent = await ada.redeem(20)
    short = await refusal(ada.redeem(1))

    assert not joined.HasField("received")
    assert [entry.kind for entry in joined.posting.entries] == [Entry.LINKED]
    assert spent.posting.account_member == "family"
    assert short.metadata["available"] == "0"
    left = await ada.leave("family")
    assert left.account.balances[0].available == 100
    assert not left.HasField("given")
    assert await group.check() == (0, 0, 0, 0)
    assert await ada.check() == (100, 0, 0, 0)


async def test_the_call_overrides_the_group(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger)

    await ada.join("family", on_join=Rules.LEAVE_BEHIND)
    await ada.earn(20)
    await ada.leave("family", on_leave=Rules.TAKE_SHARE)

    assert await ada.check() == (120, 0, 0, 0)
    assert await group.check() == (0, 0, 0, 0)


async def test_a_share_is_taken_of_each_lot(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger, rules=Rules(on_leave=Rules.TAKE_SHARE))
    await ada.join("family", role="owner")
    await bob.join("family")
    await ada.earn(7)
    await bob.earn(33)
    await ada.earn(50, mature_time=moment(START.replace(month=2)))
    await ada.hold(60)

    left = await ada.leave("family")

    # Contributed 157 of 200. Of lots of 100 (60 of it held), 10, 7, 33 and 50 (pending).
    shares = [40, 7, 5, 25, 39]
    assert [entry.points for entry in left.posting.entries[1:]] == shares
    assert await ada.check() == (77, 39, 0, 0)
    assert await group.check() == (150 - 60 - 77, 11, 60, 0)
    lots = await ledger.points.ListLots(ledger_pb2.ListLotsRequest(program="p", member="ada"))
    assert [lot.points for lot in lots.lots] == shares[::-1]
    # Whoever took its share has no part in the rest.
    gone = await bob.leave("family")
    assert gone.account.balances[0].available == 13


async def test_who_forfeits_leaves_with_nothing(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await ada.join("family")
    await bob.join("family")

    left = await ada.leave("family")
    took = await bob.leave("family", on_leave=Rules.TAKE_SHARE)

    assert left.account.balances[0].available == 0
    # What somebody forfeited is not the others' contribution.
    assert took.account.balances[0].available == 10 * 10 // 110 + 100 * 10 // 110
    assert (await ada.earn(5)).account.balances[0].available == 5
    assert await group.available() == 110 - 9
    await ada.verified("ada", "bob", "family")


async def test_who_owes_points_repays_them_before_bringing_any(ledger: LedgerUnderTest) -> None:
    ada = Party(ledger)
    await ada.begin(
        **ON, returns=program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.ALLOW_DEBT)
    )
    await ada.group("family")
    earned = await ada.earn(30)
    await ada.redeem(30)
    await ada.reverse(earned.posting.posting)
    group = ada.named("family")
    await group.earn(50)

    refused = await refusal(ada.join("family"))

    assert (refused.reason, refused.metadata) == ("IN_DEBT", {"debt": "30"})
    assert await group.check() == (50, 0, 0, 0)
    await ada.earn(31)
    await ada.join("family")
    assert await group.check() == (51, 0, 0, 0)
    await ada.verified("ada")


async def test_earnings_before_and_in_the_group_are_reversed_where_they_are(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob, group = await family(ledger)
    before = await bob.earn(100)
    await ada.join("family")
    await bob.join("family")
    during = await bob.earn(20)

    one = await bob.reverse(before.posting.posting, "v1", points=30)
    two = await bob.reverse(during.posting.posting, "v2", points=5)

    assert (one.reversed, one.unrecovered, one.posting.account_member) == (30, 0, "")
    assert (two.reversed, two.posting.member, two.posting.account_member) == (5, "bob", "family")
    assert two.posting.entries[0].attributed_member == "bob"
    assert await contributed(ledger) == {"ada": 100, "bob": 110 + 20 - 30 - 5}
    assert await group.check() == (195, 0, 0, 0)
    again = await bob.reverse(during.posting.posting, "v2", points=5)
    assert again.replayed
    assert again.posting == two.posting
    await bob.leave("family")
    later = await bob.reverse(during.posting.posting)
    assert (later.reversed, later.posting.account_member) == (15, "family")
    await ada.verified("ada", "bob", "family")


async def test_a_share_that_was_taken_is_reversed_too(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger)
    earned = await ada.earn(40)
    await ada.join("family")
    await ada.leave("family", on_leave=Rules.TAKE_SHARE)

    answer = await ada.reverse(earned.posting.posting)

    assert (answer.reversed, answer.unrecovered) == (40, 0)
    assert await ada.check() == (100, 0, 0, 0)
    assert await group.check() == (0, 0, 0, 0)


async def test_holds_of_a_member_are_its_own_doing(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger)
    await ada.join("family", role="owner")

    held = await ada.hold(40)
    captured = await ada.capture(held.hold.hold, "c1", points=30)

    assert held.hold.member == "ada"
    assert (captured.posting.member, captured.posting.account_member) == ("ada", "family")
    again = await ada.capture(held.hold.hold, "c1", points=30)
    assert again.replayed
    assert again.posting == captured.posting
    assert await group.check() == (70, 0, 0, 0)
    # The other way round: what was held before stays with the member.
    await ada.leave("family")
    await ada.earn(10)
    own = await ada.hold(10)
    refused = await refusal(ada.join("family"))
    assert (refused.reason, refused.metadata) == ("HOLD_OPEN", {"count": "1"})
    await ada.join("family", on_join=Rules.LEAVE_BEHIND)
    released = await ada.release(own.hold.hold)
    assert (released.posting.member, released.posting.account_member) == ("ada", "")
    await ada.verified("ada", "family")


async def test_a_merged_member_belongs_where_the_other_does(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await bob.merge("ada")
    await ada.join("family", role="owner")

    earned = await bob.earn(5, request_id="e")
    await bob.redeem(1)

    assert (earned.posting.member, earned.posting.account_member) == ("ada", "family")
    assert (await bob.earn(5, request_id="e")).posting == earned.posting
    assert (await bob.read()).member == "family"
    assert await contributed(ledger) == {"ada": 115}
    assert await group.check() == (114, 0, 0, 0)
    await ada.verified("ada", "bob")


async def test_what_was_taken_along_and_brought_back_is_reversed_in_the_group(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob, group = await family(ledger)
    await bob.join("family")
    await ada.join("family")
    earned = await ada.earn(40)
    await ada.leave("family", on_leave=Rules.TAKE_SHARE)
    await ada.join("family")

    first = await ada.reverse(earned.posting.posting, points=7)
    rest = await ada.reverse(earned.posting.posting)

    assert (first.reversed, first.unrecovered, rest.reversed, rest.unrecovered) == (7, 0, 33, 0)
    assert await group.check() == (110, 0, 0, 0)
    await ada.verified("ada", "bob")


async def test_a_merged_member_joins_and_leaves_as_the_other(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await bob.merge("ada")

    joined = await bob.join("family", request_id="j")
    again = await bob.join("family", request_id="j")
    left = await bob.leave("family", request_id="l", on_leave=Rules.TAKE_SHARE)

    assert (joined.posting.member, joined.posting.account_member) == ("bob", "ada")
    assert again.replayed
    assert (again.posting, again.received) == (joined.posting, joined.received)
    assert (await bob.leave("family", request_id="l", on_leave=Rules.TAKE_SHARE)).replayed
    assert left.account.balances[0].available == 110
    assert await group.check() == (0, 0, 0, 0)
    await ada.verified("ada", "bob")

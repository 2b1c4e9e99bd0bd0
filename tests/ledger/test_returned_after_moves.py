"""Purchases that are returned after their points went to another account: no points appear."""

from typing import Any

import pytest

from loyalty.ledger.v1 import group_pb2, program_pb2, resources_pb2
from tests.ledger.parties_kit import Party, freeze
from tests.ledger.programs_kit import LedgerUnderTest

Returns = program_pb2.ReturnsSettings
BRING, LEAVE_BEHIND = group_pb2.GroupRules.BRING, group_pb2.GroupRules.LEAVE_BEHIND
FORFEIT, SHARE = group_pb2.GroupRules.FORFEIT_TO_GROUP, group_pb2.GroupRules.TAKE_SHARE
DAYS = resources_pb2.ExpiryStrategy(
    strategy="days", kind=resources_pb2.ExpiryStrategy.FIXED, days=5
)
NEVER = resources_pb2.ExpiryStrategy(strategy="never", kind=resources_pb2.ExpiryStrategy.NONE)


async def people(ledger: LedgerUnderTest, policy: Any, *others: str) -> list[Party]:
    """ada, and others, in a program with a policy of returns."""
    ada = Party(ledger)
    await ada.begin(
        program=program_pb2.GeneralSettings(auto_enrol=True),
        returns=Returns(policy=policy),
        redemption=program_pb2.RedemptionSettings(reversal=True),
        groups=program_pb2.GroupsSettings(enabled=True),
        points=program_pb2.PointsSettings(expiry=[NEVER, DAYS]),
    )
    return [ada, *[await ada.other(name) for name in others]]


async def change(ledger: LedgerUnderTest, path: str, **settings: Any) -> None:
    """Change one of the program's settings."""
    request = program_pb2.UpdateProgramSettingsRequest(
        program="p", settings=program_pb2.ProgramSettings(**settings)
    )
    request.update_mask.paths.append(path)
    await ledger.programs.UpdateProgramSettings(request)


async def test_what_repaid_debt_before_a_merge_is_owed_again_after_it(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob = await people(ledger, Returns.ALLOW_DEBT, "bob")
    first = await ada.earn(30)
    await ada.redeem(30)
    await ada.reverse(first.posting.posting)
    second = await ada.earn(30)
    assert await ada.check() == (0, 0, 0, 0)
    await change(ledger, "returns.policy", returns=Returns(policy=Returns.OWN_LOTS_ONLY))
    await ada.merge("bob")

    answer = await ada.reverse(second.posting.posting)

    # Nothing of it will ever come back: under any policy it is owed again.
    assert (answer.reversed, answer.unrecovered) == (30, 0)
    assert await bob.check() == (0, 0, 0, 30)
    await ada.verified("ada", "bob")


async def test_what_expired_before_a_merge_is_taken_from_nothing_else_after_it(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob = await people(ledger, Returns.WITHIN_BALANCE, "bob")
    short = await ada.earn(40, expiry="days")
    await ada.redeem(15)
    await bob.earn(100)
    await ada.later(days=6)
    await ada.merge("bob")

    answer = await ada.reverse(short.posting.posting)

    assert (answer.reversed, answer.expired, answer.unrecovered) == (15, 25, 0)
    assert await bob.check() == (85, 0, 0, 0)
    await ada.verified("ada", "bob")


@pytest.mark.parametrize("merges", [0, 1, 2])
async def test_what_stood_for_another_purchase_still_does_after_merges(
    ledger: LedgerUnderTest, merges: int
) -> None:
    ada, bob, cat = await people(ledger, Returns.WITHIN_BALANCE, "bob", "cat")
    first = await ada.earn(20)
    spent = await ada.redeem(20)
    second = await ada.earn(20)
    # The second pays for the first; then nothing is left to return it with.
    await ada.reverse(first.posting.posting)
    if merges:
        await ada.merge("bob")
    returned = await ada.reverse(second.posting.posting)
    if merges == 2:
        await bob.merge("cat")

    back = await ada.reverse(spent.posting.posting)

    assert (returned.unrecovered, back.reversed) == (20, 20)
    assert (await ada.read()).balances[0].available == 0
    await cat.verified("ada", "bob", "cat")


async def test_what_a_group_spent_of_brought_points_meets_the_claim_of_their_return(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob = await people(ledger, Returns.OWN_LOTS_ONLY, "bob")
    await ada.group("family")
    family = ada.named("family")
    bought = await ada.earn(100)
    spent = await ada.redeem(10)
    await ada.join("family", on_join=BRING)
    together = await family.redeem(60)
    held = await family.hold(20)
    await bob.join("family", on_join=LEAVE_BEHIND)

    # 10 are left, 20 held; 10 may come back to ada, the rest to the family.
    answer = await ada.reverse(bought.posting.posting)

    assert (answer.reversed, answer.unrecovered) == (10, 90)
    assert (answer.posting.member, answer.posting.account_member) == ("ada", "")
    await family.release(held.hold.hold)
    assert await family.check() == (0, 0, 0, 0)
    back = await family.reverse(together.posting.posting)
    assert (back.reversed, await family.available()) == (60, 0)
    await ada.reverse(spent.posting.posting)
    assert await ada.available(own=True) == 0
    await ada.verified("ada", "bob", "family")


async def test_what_went_along_with_those_who_left_is_asked_back(ledger: LedgerUnderTest) -> None:
    ada, bob, cat = await people(ledger, Returns.OWN_LOTS_ONLY, "bob", "cat")
    await ada.group("family")
    family = ada.named("family")
    for each in (ada, bob):
        await each.join("family", on_join=BRING)
    bought = await ada.earn(60)
    await bob.earn(60)
    for each in (ada, bob):
        await each.leave("family", on_leave=SHARE)
    await bob.merge("cat")
    assert [await each.available(own=True) for each in (ada, cat, family)] == [60, 60, 0]

    # Of each purchase everybody has a part.
    first = await ada.reverse(bought.posting.posting, points=25)
    again = await ada.reverse(bought.posting.posting)

    assert (first.reversed, first.unrecovered, again.reversed) == (25, 0, 35)
    assert [await each.available(own=True) for each in (ada, cat, family)] == [30, 30, 0]
    await ada.verified("ada", "bob", "cat", "family")


async def test_what_was_left_to_a_group_is_asked_back_unless_it_is_frozen(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob = await people(ledger, Returns.OWN_LOTS_ONLY, "bob")
    bought = [await each.earn(50) for each in (ada, bob)]
    await ada.group("family")
    family = ada.named("family")
    for each in (ada, bob):
        await each.join("family", on_join=BRING)
        await each.leave("family", on_leave=FORFEIT)

    answer = await ada.reverse(bought[0].posting.posting)
    await freeze(family)
    refused = await bob.reverse(bought[1].posting.posting)

    assert (answer.reversed, answer.unrecovered) == (50, 0)
    assert (refused.reversed, refused.unrecovered) == (0, 50)
    assert await family.available() == 50
    await ada.verified("ada", "bob", "family")


async def test_activity_of_either_keeps_the_points_of_both(ledger: LedgerUnderTest) -> None:
    ada, bob = await people(ledger, Returns.WITHIN_BALANCE, "bob")
    idle = resources_pb2.ExpiryStrategy(
        strategy="idle", kind=resources_pb2.ExpiryStrategy.INACTIVITY, months=1
    )
    points = program_pb2.PointsSettings(expiry=[NEVER, idle])
    await change(ledger, "points.expiry", points=points)
    await bob.earn(10, expiry="idle")
    spent = await ada.earn(5, expiry="idle")
    gone = await ada.redeem(5)
    await ada.later(days=20)
    await ada.earn(1)
    await ada.merge("bob")
    await ada.later(days=25)

    back = await ada.reverse(gone.posting.posting)

    assert spent.posting.posting
    assert (back.reversed, back.expired) == (5, 0)
    assert await bob.check() == (16, 0, 0, 0)
    await ada.verified("ada", "bob")

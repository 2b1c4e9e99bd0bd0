"""Groups and fleets over a real ledger: whose points are whose, and who may do what."""

from typing import Any

from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.ledger.programs_kit import LedgerUnderTest, at

Entry = resources_pb2.Entry
Account = resources_pb2.Account
Rules = group_pb2.GroupRules


async def furnish(ledger: LedgerUnderTest, **settings: Any) -> None:
    """The sandbox `p1` with groups and fleets, and the counter `visits`."""
    given = program_pb2.ProgramSettings()
    given.program.auto_enrol = True
    given.groups.enabled = True
    given.fleets.enabled = True
    given.transfer.enabled = True
    given.redemption.reversal = True
    await ledger.create_program("p1", sandbox=True, start_time=at(2026), settings=given)
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p1", counter_id="visits")
    )


async def earn(ledger: LedgerUnderTest, member: str, points: int, request_id: str = "e1") -> Any:
    """Give points."""
    return await ledger.points.Earn(
        ledger_pb2.EarnRequest(program="p1", member=member, request_id=request_id, points=points)
    )


async def create(ledger: LedgerUnderTest, group: str = "family", **fields: Any) -> Any:
    """Create a group."""
    asked: dict[str, Any] = {"kind": Account.GROUP, "request_id": "create"}
    return await ledger.members.CreateGroup(
        group_pb2.CreateGroupRequest(program="p1", group=group, **{**asked, **fields})
    )


def join(member: str, group: str = "family", request_id: str = "j1", **fields: Any) -> Any:
    """A request to join."""
    return group_pb2.AddGroupMemberRequest(
        program="p1", member=member, group=group, request_id=request_id, **fields
    )


def leave(member: str, group: str = "family", request_id: str = "l1", **fields: Any) -> Any:
    """A request to leave."""
    return group_pb2.RemoveGroupMemberRequest(
        program="p1", member=member, group=group, request_id=request_id, **fields
    )


async def account(ledger: LedgerUnderTest, member: str, **fields: Any) -> Any:
    """What a member has."""
    return await ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(program="p1", member=member, **fields)
    )


async def assert_verified(ledger: LedgerUnderTest, *members: str) -> None:
    """The members' own books balance."""
    for member in members:
        answer = await ledger.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program="p1", member=member)
        )
        assert answer.ok, (member, answer.findings)


async def test_what_members_earn_is_the_groups(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    await create(ledger)
    await earn(ledger, "ada", 100)

    joined = await ledger.members.AddGroupMember(join("ada"))
    earned = await earn(ledger, "ada", 20, "e2")

    assert [entry.kind for entry in joined.posting.entries] == [Entry.LINKED, Entry.MOVED_OUT]
    assert (joined.account.member, joined.account.group) == ("ada", "family")
    assert [entry.points for entry in joined.received.entries] == [100]
    assert (earned.posting.member, earned.posting.account_member) == ("ada", "family")
    assert earned.posting.entries[0].attributed_member == "ada"
    assert (earned.account.member, earned.account.addressed_member) == ("family", "ada")
    assert earned.account.balances[0].available == 120
    read = await account(ledger, "ada")
    assert (read.member, read.addressed_member, read.kind) == ("family", "ada", Account.GROUP)
    own = await account(ledger, "ada", own=True)
    assert (own.member, own.group, own.balances[0].available) == ("ada", "family", 0)
    again = await earn(ledger, "ada", 20, "e2")
    assert again.replayed
    assert again.posting == earned.posting
    assert again.account.member == "family"
    members = await ledger.members.ListGroupMembers(
        group_pb2.ListGroupMembersRequest(program="p1", group="family")
    )
    assert [(each.member, each.role, each.contributed["points"]) for each in members.members] == [
        ("ada", "member", 120)
    ]
    await assert_verified(ledger, "ada", "family")


async def test_a_share_is_taken_along(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    await create(ledger, rules=Rules(on_leave=Rules.TAKE_SHARE))
    for member in ("ada", "bob"):
        await earn(ledger, member, 1)
        await ledger.members.AddGroupMember(join(member))
    await earn(ledger, "ada", 29, "e2")
    await earn(ledger, "bob", 9, "e2")

    left = await ledger.members.RemoveGroupMember(leave("ada"))

    assert [entry.kind for entry in left.posting.entries][0] == Entry.UNLINKED
    # Of lots of 1, 1, 29 and 9: three quarters each, rounded down.
    assert left.account.balances[0].available == 0 + 0 + 21 + 6
    assert (left.account.member, left.account.group) == ("ada", "")
    assert (await account(ledger, "family")).balances[0].available == 40 - 27
    assert (await earn(ledger, "ada", 3, "e3")).account.balances[0].available == 30
    await assert_verified(ledger, "ada", "bob", "family")


def reverse(posting: str, request_id: str = "v1", **fields: Any) -> Any:
    """A request to reverse a posting."""
    return ledger_pb2.ReversePostingRequest(
        program="p1", posting=posting, request_id=request_id, **fields
    )


async def contributed(ledger: LedgerUnderTest, group: str = "family") -> dict[str, int]:
    """What its members contributed to a group."""
    answer = await ledger.members.ListGroupMembers(
        group_pb2.ListGroupMembersRequest(program="p1", group=group, include_former=True)
    )
    return {each.member: each.contributed["points"] for each in answer.members}


async def test_what_was_earned_before_joining_is_reversed_from_what_was_brought(
    ledger: LedgerUnderTest,
) -> None:
    await furnish(ledger)
    await create(ledger)
    before = await earn(ledger, "ada", 100)
    await earn(ledger, "bob", 50)
    await ledger.members.AddGroupMember(join("ada"))
    await ledger.members.AddGroupMember(join("bob"))

    answer = await ledger.points.ReversePosting(reverse(before.posting.posting, points=30))

    assert (answer.reversed, answer.unrecovered) == (30, 0)
    assert (await account(ledger, "family")).balances[0].available == 120
    assert (await account(ledger, "ada", own=True)).balances[0].available == 0
    assert await contributed(ledger) == {"ada": 70, "bob": 50}
    await assert_verified(ledger, "ada", "bob", "family")


async def test_what_was_earned_in_the_group_is_reversed_there(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    await create(ledger)
    await earn(ledger, "ada", 1)
    await ledger.members.AddGroupMember(join("ada"))
    earned = await earn(ledger, "ada", 20, "e2")

    answer = await ledger.points.ReversePosting(reverse(earned.posting.posting, points=5))
    again = await ledger.points.ReversePosting(reverse(earned.posting.posting, points=5))

    assert (answer.posting.member, answer.posting.account_member) == ("ada", "family")
    assert answer.posting.entries[0].attributed_member == "ada"
    assert again.replayed
    assert again.posting == answer.posting
    assert await contributed(ledger) == {"ada": 16}
    await ledger.members.RemoveGroupMember(leave("ada"))
    later = await ledger.points.ReversePosting(reverse(earned.posting.posting, "v2"))
    assert (later.reversed, later.posting.account_member) == (15, "family")
    assert await contributed(ledger) == {"ada": 16}
    await assert_verified(ledger, "ada", "family")


async def test_holds_of_a_member_are_its_own_doing(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    await create(ledger)
    await earn(ledger, "ada", 100)
    await ledger.members.AddGroupMember(join("ada", role="owner"))

    held = await ledger.points.CreateHold(
        ledger_pb2.CreateHoldRequest(program="p1", member="ada", request_id="h1", points=40)
    )
    answer = await ledger.points.CaptureHold(
        ledger_pb2.CaptureHoldRequest(
            program="p1", hold=held.hold.hold, request_id="c1", points=30
        )
    )

    assert held.hold.member == "ada"
    assert (answer.posting.member, answer.posting.account_member) == ("ada", "family")
    assert answer.account.balances[0].available == 70
    again = await ledger.points.CaptureHold(
        ledger_pb2.CaptureHoldRequest(
            program="p1", hold=held.hold.hold, request_id="c1", points=30
        )
    )
    assert again.replayed
    await assert_verified(ledger, "ada", "family")

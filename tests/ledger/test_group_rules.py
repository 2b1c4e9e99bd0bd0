"""Who may do what in a group, and how groups are made, changed and listed; over a real ledger."""

import pytest

from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2
from tests.ledger.parties_kit import ON, Account, Party, Rules, family, freeze
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger


async def test_a_role_permits(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    cyd = await ada.other("cyd")
    await ada.join("family", role="owner")
    await bob.join("family")

    calls = [bob.redeem(1), bob.hold(1), bob.transfer(1, "cyd")]
    refused = [await refusal(call) for call in calls]
    await ada.redeem(1)
    await ada.transfer(2, "cyd")
    await group.redeem(4)
    given = await cyd.transfer(1, "bob")

    assert [(each.reason, each.metadata) for each in refused] == [
        ("PERMISSION_MISSING", {"role": "member", "permission": permission})
        for permission in ("REDEEM", "REDEEM", "TRANSFER")
    ]
    assert (given.received.member, given.received.account_member) == ("bob", "family")
    assert given.received.entries[0].attributed_member == "bob"
    assert await group.check() == (104, 0, 0, 0)
    post = ledger_pb2.PostRequest(**bob.common())
    post.operations.add().earn.points = 1
    post.operations.add().redeem.points = 1
    assert (await refusal(ledger.points.Post(post))).reason == "PERMISSION_MISSING"


async def test_roles_of_ones_own(ledger: LedgerUnderTest) -> None:
    ada, bob, _ = await family(ledger)
    rules = Rules()
    rules.roles.add(role="spender", permissions=[group_pb2.GroupRole.REDEEM])
    rules.roles.add(role="guest")
    changed = await ledger.members.UpdateGroup(
        group_pb2.UpdateGroupRequest(program="p", group="family", rules=rules)
    )
    await ada.join("family", role="spender")
    await bob.join("family")

    await ada.redeem(1)
    cyd = await ada.other("cyd")
    refused = [await refusal(call) for call in (ada.transfer(1, "cyd"), bob.redeem(1))]

    assert [role.role for role in changed.rules.roles] == ["spender", "guest"]
    assert [each.metadata["role"] for each in refused] == ["spender", "guest"]
    unknown = await refusal(cyd.join("family", role="owner"))
    assert unknown.fields == ("role",)


async def test_a_group_that_does_not_pool_only_knows_its_members(
    ledger: LedgerUnderTest,
) -> None:
    ada, _, group = await family(ledger, rules=Rules(pooling=False))

    await ada.join("family")
    earned = await ada.earn(5)

    assert (earned.posting.member, earned.posting.account_member) == ("ada", "")
    assert (earned.account.member, earned.account.group) == ("ada", "family")
    assert await ada.check() == (105, 0, 0, 0)
    assert await group.check() == (0, 0, 0, 0)
    again = await refusal(ada.join("family"))
    assert again.metadata == {"member": "ada", "group": "family"}
    await ada.leave("family")
    assert (await ada.read()).group == ""
    await ada.verified("ada", "family")


async def test_freezing_a_member_freezes_nobody_else(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await ada.join("family", role="owner")
    await bob.join("family", role="owner")

    await freeze(ada)

    assert (await refusal(ada.redeem(1))).metadata == {"member": "ada"}
    assert (await refusal(ada.earn(1))).reason == "MEMBER_FROZEN"
    await bob.redeem(1)
    assert (await refusal(ada.leave("family"))).reason == "MEMBER_FROZEN"
    await freeze(group)
    assert (await refusal(bob.redeem(1))).metadata == {"member": "family"}


async def test_asked_as_if_nothing_is_written(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger)
    made = await ada.group("other", validate_only=True)
    joined = await ada.join("family", validate_only=True)

    assert (made.group.group, made.account.kind) == ("other", Account.GROUP)
    assert [entry.points for entry in joined.received.entries] == [100]
    assert (await refusal(ada.named("other").read())).reason == "MEMBER_NOT_FOUND"
    assert await ada.check() == (100, 0, 0, 0)
    await ada.join("family")
    left = await ada.leave("family", on_leave=Rules.TAKE_SHARE, validate_only=True)
    assert left.account.balances[0].available == 100
    assert await group.check() == (100, 0, 0, 0)


async def test_a_group_is_created_once(ledger: LedgerUnderTest) -> None:
    ada, _, _ = await family(ledger, display_name="The family")

    again = await ada.group("family", display_name="The family")
    other = await refusal(ada.group("family", display_name="Another"))
    second = await refusal(ada.group("family", request_id="again"))
    member = await refusal(ada.group("ada"))
    twice = Rules()
    twice.roles.add(role="a")
    twice.roles.add(role="a")
    roles = await refusal(ada.group("twins", rules=twice))

    assert again.replayed
    assert [role.role for role in again.group.rules.roles] == ["owner", "member"]
    assert other.reason == "REQUEST_ID_REUSED"
    assert (second.reason, second.metadata) == ("GROUP_EXISTS", {"group": "family"})
    assert (member.reason, member.metadata) == ("MEMBER_EXISTS", {"member": "ada"})
    assert roles.fields == ("rules.roles",)
    assert (await refusal(ada.named("twins").read())).reason == "MEMBER_NOT_FOUND"
    enrol = account_pb2.EnrolMemberRequest(program="p", member="family", request_id="x")
    assert (await refusal(ledger.members.EnrolMember(enrol))).reason == "MEMBER_EXISTS"


@pytest.mark.parametrize("kind, setting", [(2, "groups.enabled"), (3, "fleets.enabled")])
async def test_settings_that_are_off(ledger: LedgerUnderTest, kind: int, setting: str) -> None:
    ada = Party(ledger)
    await ada.begin(**{**ON, "groups": None, "fleets": None})

    refused = await refusal(ada.group("g", kind=kind))

    assert (refused.reason, refused.metadata) == ("SETTING_OFF", {"setting": setting})


async def test_refusals_of_joining_and_leaving(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await ada.group("others")

    assert (await refusal(ada.join("nowhere"))).metadata == {"group": "nowhere"}
    assert (await refusal(ada.join("bob"))).reason == "GROUP_NOT_FOUND"
    assert (await refusal(ada.named("nobody").join("family"))).reason == "MEMBER_NOT_FOUND"
    assert (await refusal(ada.named("others").join("family"))).fields == ("member",)
    assert (await refusal(group.join("family"))).fields == ("member",)
    out = await refusal(ada.leave("family"))
    assert (out.reason, out.metadata) == (
        "MEMBER_NOT_IN_GROUP", {"member": "ada", "group": "family"},
    )  # fmt: skip
    await ada.join("family", request_id="j")
    assert (await ada.join("family", request_id="j")).replayed
    assert (await refusal(ada.join("others"))).metadata == {"member": "ada", "group": "family"}
    assert (await refusal(ada.leave("others"))).reason == "MEMBER_NOT_IN_GROUP"
    assert (await refusal(ada.leave("nowhere"))).reason == "GROUP_NOT_FOUND"
    await freeze(bob)
    assert (await refusal(bob.join("family"))).reason == "MEMBER_FROZEN"
    pooling = group_pb2.UpdateGroupRequest(program="p", group="family", rules=Rules(pooling=False))
    assert (await refusal(ledger.members.UpdateGroup(pooling))).reason == "SETTING_FIXED"
    for read in (
        ledger.members.GetGroup(group_pb2.GetGroupRequest(program="p", group="ada")),
        ledger.members.ListGroupMembers(
            group_pb2.ListGroupMembersRequest(program="p", group="nowhere")
        ),
    ):
        assert (await refusal(read)).reason == "GROUP_NOT_FOUND"


async def test_lists_are_paged(ledger: LedgerUnderTest) -> None:
    ada, bob, _ = await family(ledger)
    await ada.group("a-fleet", kind=Account.FLEET, display_name="Trucks")
    for member in (bob, ada):
        await member.join("a-fleet")
        await member.later(hours=1)
    await bob.leave("a-fleet")

    groups, token = [], ""
    for _ in range(2):
        page = await ledger.members.ListGroups(
            group_pb2.ListGroupsRequest(program="p", page_size=1, page_token=token)
        )
        groups.extend(page.groups)
        token = page.next_page_token
    stays, after = [], ""
    for _ in range(2):
        listed = await ledger.members.ListGroupMembers(
            group_pb2.ListGroupMembersRequest(
                program="p", group="a-fleet", page_size=1, page_token=after, include_former=True
            )
        )
        stays.extend(listed.members)
        after = listed.next_page_token

    assert [(each.group, each.kind) for each in groups] == [
        ("a-fleet", Account.FLEET),
        ("family", Account.GROUP),
    ]
    assert token == ""
    assert [role.role for role in groups[0].rules.roles] == ["manager", "driver", "vehicle"]
    assert [(each.member, each.role, each.HasField("leave_time")) for each in stays] == [
        ("bob", "vehicle", True),
        ("ada", "vehicle", False),
    ]
    assert after == ""
    assert (await ledger.members.GetGroup(
        group_pb2.GetGroupRequest(program="p", group="a-fleet")
    )).display_name == "Trucks"  # fmt: skip

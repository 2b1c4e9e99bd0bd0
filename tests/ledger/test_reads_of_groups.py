"""Reading what belongs to several: statements by whose doing it was, the past, erasing."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2, ledger_pb2, resources_pb2
from tests.ledger.parties_kit import Party, Rules, family
from tests.ledger.points_kit import START, moment
from tests.ledger.programs_kit import LedgerUnderTest, refusal
from tests.ledger.test_identifiers import identifier

pytestmark = pytest.mark.shared_ledger

KIND = resources_pb2.Entry.Kind


async def statement(party: Party, **fields: Any) -> Any:
    return await party.ledger.points.GetStatement(
        ledger_pb2.GetStatementRequest(program="p", member=party.member, page_size=1000, **fields)
    )


async def known(party: Party, instant: Any, **fields: Any) -> Any:
    return await party.ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(
            program="p",
            member=party.member,
            as_of=ledger_pb2.AsOf(record_time=moment(instant)),
            **fields,
        )
    )


async def counted(party: Party, instant: Any) -> Any:
    return await party.ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(
            program="p",
            member=party.member,
            as_of=ledger_pb2.AsOf(effective_time=moment(instant)),
        )
    )


async def erase(party: Party, **fields: Any) -> Any:
    return await party.ledger.members.EraseMember(
        account_pb2.EraseMemberRequest(
            program="p", member=party.member, request_id="erase", **fields
        )
    )


async def test_a_groups_statement_can_be_told_by_whose_doing_it_was(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob, group = await family(ledger)
    await ada.join("family", role="owner")
    await bob.join("family")
    await ada.earn(20, reference="till 1")
    await bob.earn(5)
    await ada.redeem(9)

    whole = await statement(group)
    adas = await statement(group, attributed_member="ada")
    bobs = await statement(group, attributed_member="bob")

    told = [(line.kind, line.points, line.attributed_member) for line in adas.lines]
    assert told[-2:] == [(KIND.EARNED, 20, "ada"), (KIND.REDEEMED, -9, "ada")]
    assert {line.attributed_member for line in adas.lines} == {"ada"}
    assert (KIND.EARNED, 5, "bob") in [
        (line.kind, line.points, line.attributed_member) for line in bobs.lines
    ]
    parts = {line.sequence for line in (*adas.lines, *bobs.lines)}
    assert parts < {line.sequence for line in whole.lines}
    assert whole.lines[-1].balance == 126
    assert adas.balances == whole.balances
    # A member's own statement leads where its points are.
    assert (await statement(ada)).lines == whole.lines
    unknown = await refusal(statement(group, attributed_member="nobody"))
    assert unknown.reason == "MEMBER_NOT_FOUND"


async def test_points_are_known_where_they_were_then(ledger: LedgerUnderTest) -> None:
    ada, _, group = await family(ledger)
    await ada.later(days=1)
    await ada.join("family", role="owner")
    await ada.later(days=1)
    await ada.earn(20)
    await ada.later(days=1)
    await ada.leave("family")
    await ada.later(days=1)
    await ada.earn(3)

    days = [await known(ada, START + timedelta(days=day, hours=1)) for day in range(5)]

    assert [(each.member, each.balances[0].available) for each in days] == [
        ("ada", 100),
        ("family", 100),
        ("family", 120),
        ("ada", 0),
        ("ada", 3),
    ]
    by_day = [await counted(ada, START + timedelta(days=day, hours=1)) for day in range(5)]
    assert [(each.member, each.balances[0].available) for each in by_day] == [
        (each.member, each.balances[0].available) for each in days
    ]
    groups = [await known(group, START + timedelta(days=day, hours=1)) for day in (2, 4)]
    assert [each.balances[0].available for each in groups] == [120, 120]
    own = await known(ada, START + timedelta(days=2, hours=1), own=True)
    assert (own.member, own.balances[0].available) == ("ada", 0)


async def test_what_was_of_a_member_whose_group_does_not_pool_is_its_own(
    ledger: LedgerUnderTest,
) -> None:
    ada, _, group = await family(ledger, rules=Rules(pooling=False))
    await ada.later(days=1)
    await ada.join("family")
    await ada.earn(20)
    await ada.later(days=1)
    await ada.leave("family")
    await ada.later(days=1)

    for read in (known, counted):
        days = [await read(ada, START + timedelta(days=day, hours=1)) for day in range(3)]
        assert [
            (each.member, each.kind, each.group, each.balances[0].available) for each in days
        ] == [
            ("ada", ada_is, group_then, points)
            for ada_is, group_then, points in (
                (resources_pb2.Account.PERSON, "", 100),
                (resources_pb2.Account.PERSON, "family", 120),
                (resources_pb2.Account.PERSON, "", 120),
            )
        ]
        assert (await read(group, START + timedelta(days=1))).kind == resources_pb2.Account.GROUP


async def test_an_account_of_then_says_which_group_it_belonged_to_then(
    ledger: LedgerUnderTest,
) -> None:
    ada, _, _ = await family(ledger)
    await ada.later(days=1)
    await ada.join("family")
    await ada.later(days=1)
    await ada.leave("family")
    kinds = resources_pb2.Account

    own = [await known(ada, START + timedelta(days=day, hours=1), own=True) for day in range(3)]
    there = [await known(ada, START + timedelta(days=day, hours=1)) for day in range(3)]

    assert [(each.member, each.kind, each.group) for each in own] == [
        ("ada", kinds.PERSON, ""),
        ("ada", kinds.PERSON, "family"),
        ("ada", kinds.PERSON, ""),
    ]
    assert [(each.member, each.kind, each.group) for each in there] == [
        ("ada", kinds.PERSON, ""),
        ("family", kinds.GROUP, ""),
        ("ada", kinds.PERSON, ""),
    ]


async def test_who_belongs_to_a_group_leaves_before_being_erased(ledger: LedgerUnderTest) -> None:
    ada, bob, group = await family(ledger)
    await ada.join("family")

    refused = await refusal(erase(ada))
    assert (refused.reason, refused.metadata) == (
        "MEMBER_IN_GROUP",
        {"member": "ada", "group": "family"},
    )
    assert (await refusal(erase(group))).reason == "MEMBER_NOT_FOUND"
    await ada.leave("family")
    await erase(ada)

    assert (await refusal(ada.read())).reason == "MEMBER_NOT_FOUND"
    lines = (await statement(group)).lines
    assert {line.attributed_member for line in lines} <= {""}
    assert (await bob.read()).balances[0].available == 10


async def test_merged_ids_are_erased_with_the_person(ledger: LedgerUnderTest) -> None:
    ada, bob, _ = await family(ledger)
    await ledger.members.UpdateMember(
        account_pb2.UpdateMemberRequest(
            program="p", member="bob", add_identifiers=[identifier("card", "7")]
        )
    )
    await bob.merge("ada")
    found = await ledger.members.LookupMember(
        account_pb2.LookupMemberRequest(program="p", kind="card", value="7")
    )

    # By whichever of the ids.
    erased = await erase(bob, write_off=True, reason="asked for")

    assert found.member == "ada"
    assert (erased.members_erased, erased.identifiers_erased) == (2, 1)
    assert [sum(entry.points for entry in one.entries) for one in erased.postings] == [-110]
    for party in (ada, bob):
        assert (await refusal(party.read())).reason == "MEMBER_NOT_FOUND"
        assert (await refusal(statement(party))).reason == "MEMBER_NOT_FOUND"
    gone = await refusal(
        ledger.members.LookupMember(
            account_pb2.LookupMemberRequest(program="p", kind="card", value="7")
        )
    )
    assert gone.reason == "MEMBER_NOT_FOUND"


async def test_held_points_are_not_written_off(ledger: LedgerUnderTest) -> None:
    ada, _, _ = await family(ledger)
    held = await ada.hold(30)

    refused = await refusal(erase(ada, write_off=True, reason="asked for"))
    assert (refused.reason, refused.metadata) == ("HOLD_OPEN", {"count": "1"})
    await ada.release(held.hold.hold)
    erased = await erase(ada, write_off=True, reason="asked for")

    assert [entry.points for entry in erased.postings[0].entries] == [-100]


async def test_a_billing_day_is_the_members_own_and_not_the_groups(
    ledger: LedgerUnderTest,
) -> None:
    ada, _, group = await family(ledger)
    await ada.join("family")
    row = account_pb2.MemberImport(
        member="ada",
        billing_day=7,
        balances=[account_pb2.OpeningBalance(points=5)],
        identifiers=[identifier()],
    )

    answer = await ledger.members.ImportMembers(
        account_pb2.ImportMembersRequest(program="p", import_id="old", rows=[row])
    )

    assert answer.results[0].posting.account_member == "family"
    days = [
        (
            await ledger.members.GetMember(
                account_pb2.GetMemberRequest(program="p", member=party.member)
            )
        ).billing_day
        for party in (ada, group)
    ]
    assert days == [7, 0]

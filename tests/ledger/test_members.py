"""Who is a member of a program, read one by one and in pages."""

import asyncio
from datetime import UTC, datetime

from kernel.ids import bucket_of
from loyalty.ledger.v1 import account_pb2, resources_pb2
from testkit.keys import metadata, token
from tests.ledger.parties_kit import Account, family
from tests.ledger.programs_kit import LedgerUnderTest, at, refusal

_INSERT = """
WITH person AS (
    INSERT INTO directory (name_bucket, organization, member, bucket, person)
    VALUES ($1, $2, $3, $1, $4) ON CONFLICT DO NOTHING
)
INSERT INTO account (bucket, id, program, person, state, sandbox, version, sequence, digest,
    enrol_time, record_time)
SELECT $1, $5, p.key, $4, $6, p.sandbox, 0, $7, '', $8, $8
FROM program p WHERE p.organization = $2 AND p.id = $9
"""

ENROLLED = datetime(2026, 1, 1, tzinfo=UTC)


async def put(
    ledger: LedgerUnderTest,
    member: str,
    account: int,
    *,
    program: str = "p1",
    state: int = 1,
    entries: int = 1,
) -> None:
    """Put a member's rows where enrolling would."""
    bucket = bucket_of("acme", member, 8)
    person = sum(member.encode())
    await ledger.rows.execute(
        _INSERT, bucket, "acme", member, person, account, state, entries, ENROLLED, program
    )


async def test_a_member_is_answered_as_enrolled(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await put(ledger, "a+b@x.example", 1)
    await put(ledger, "frozen", 2, state=2)

    found = [
        await ledger.members.GetMember(account_pb2.GetMemberRequest(program="p1", member=member))
        for member in ("a+b@x.example", "frozen")
    ]

    assert [(each.program, each.member, each.state, each.enrol_time) for each in found] == [
        ("p1", "a+b@x.example", resources_pb2.Account.OPEN, at(2026)),
        ("p1", "frozen", resources_pb2.Account.FROZEN, at(2026)),
    ]


async def test_who_is_not_enrolled_in_the_program_is_not_found(ledger: LedgerUnderTest) -> None:
    await ledger.create_organization("rival")
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    await put(ledger, "elsewhere", 1, program="p2")
    await put(ledger, "touched", 2, entries=0)
    await put(ledger, "mine", 3)
    rival = metadata(token(organization="rival"))
    calls = {
        "nobody": ("p1", None),
        "elsewhere": ("p1", None),
        "touched": ("p1", None),
        "mine": ("p1", rival),
        "any": ("nowhere", None),
    }

    reasons = {
        member: (
            await refusal(
                ledger.members.GetMember(
                    account_pb2.GetMemberRequest(program=program, member=member),
                    metadata=credential,
                )
            )
        ).reason
        for member, (program, credential) in calls.items()
    }

    assert reasons == {
        "nobody": "MEMBER_NOT_FOUND",
        "elsewhere": "MEMBER_NOT_FOUND",
        "touched": "MEMBER_NOT_FOUND",
        "mine": "PROGRAM_NOT_FOUND",
        "any": "PROGRAM_NOT_FOUND",
    }


async def test_members_are_listed_in_order_of_enrolment_whatever_the_page_size(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    names = ["zoe", "adam", "mia", "ben", "eva"]
    for place, name in enumerate(names):
        await put(ledger, name, place + 1)
    await put(ledger, "other", 3, program="p2")
    await put(ledger, "touched", 9, entries=0)

    for size in (1, 2, 3, 7, 0):
        found: list[str] = []
        request = account_pb2.ListMembersRequest(program="p1", page_size=size)
        for _ in range(10):
            page = await ledger.members.ListMembers(request)
            found += [member.member for member in page.members]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break

        assert found == names, size


async def test_groups_and_ids_that_were_merged_are_no_members(ledger: LedgerUnderTest) -> None:
    ada, bob, _ = await family(ledger)
    carol = await ada.other("carol")
    await bob.group("cars", kind=Account.FLEET, request_id="cars")
    await ada.join("family")
    await bob.merge("carol")

    for merged, names in ((False, ["ada", "carol"]), (True, ["ada", "bob", "carol"])):
        for size in (1, 2, 0):
            found: list[str] = []
            request = account_pb2.ListMembersRequest(
                program="p", page_size=size, include_merged=merged
            )
            while True:
                page = await ledger.members.ListMembers(request)
                found += [member.member for member in page.members]
                request.page_token = page.next_page_token
                if not request.page_token:
                    break
            assert found == names
    # Whoever asks for one of them is answered nevertheless.
    group = await ledger.members.GetMember(
        account_pb2.GetMemberRequest(program="p", member="family")
    )
    assert group.member == "family"
    assert carol.member == "carol"


async def test_a_page_token_of_another_program_is_refused(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    await put(ledger, "a", 1)
    await put(ledger, "b", 2)
    page = await ledger.members.ListMembers(
        account_pb2.ListMembersRequest(program="p1", page_size=1)
    )

    for text in (page.next_page_token, "garbage", "x" * 2000):
        refused = await refusal(
            ledger.members.ListMembers(
                account_pb2.ListMembersRequest(program="p2", page_size=1, page_token=text)
            )
        )

        assert refused.reason == "INVALID_PAGE_TOKEN", text


async def test_members_are_read_as_they_were_enrolled_by_call(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    for number in range(5):
        await ledger.members.EnrolMember(
            account_pb2.EnrolMemberRequest(
                program="p1",
                member=f"m{number}",
                request_id="enrol",
                effective_time=at(2020 + number),
            )
        )
        # Members of one millisecond have no order among them.
        await asyncio.sleep(0.003)

    listed = await ledger.members.ListMembers(account_pb2.ListMembersRequest(program="p1"))
    one = await ledger.members.GetMember(account_pb2.GetMemberRequest(program="p1", member="m3"))

    assert [member.member for member in listed.members] == [f"m{number}" for number in range(5)]
    assert one == listed.members[3]
    assert one.enrol_time == at(2023)
    assert one.state == resources_pb2.Account.OPEN

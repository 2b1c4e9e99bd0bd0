"""A person is erased: the ids are unknown, the entries stay and name nobody."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from chassis.database import engine
from loyalty.ledger.v1 import (
    account_pb2,
    group_pb2,
    ledger_pb2,
    program_pb2,
    report_pb2,
    resources_pb2,
)
from services.ledger.operations.erase_member import forget_erasures
from services.ledger.store import erasures
from testkit.keys import metadata, token
from testkit.postgres import TestDatabase
from tests.ledger.parties_kit import ON
from tests.ledger.programs_kit import LedgerUnderTest, at, ledger_under_test, refusal
from tests.ledger.test_identifiers import enrol, identifier, lookup


async def earn(ledger: LedgerUnderTest, points: int, member: str = "ada", **fields: Any) -> Any:
    request = ledger_pb2.EarnRequest(
        program=fields.pop("program", "p1"),
        member=member,
        request_id=f"earn-{points}",
        points=points,
        **fields,
    )
    return await ledger.points.Earn(request)


async def erase(ledger: LedgerUnderTest, member: str = "ada", **fields: Any) -> Any:
    return await ledger.members.EraseMember(
        account_pb2.EraseMemberRequest(
            program="p1", member=member, request_id=fields.pop("request_id", "erase"), **fields
        )
    )


async def rows_of(ledger: LedgerUnderTest, table: str) -> list[str]:
    return [row[0] for row in await ledger.rows.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")]


async def test_who_is_erased_is_unknown_and_the_entries_are_as_they_were(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    await enrol(ledger, "ada", identifier(), identifier("card", "1"))
    await enrol(ledger, "ada", program="p2")
    posting = (await earn(ledger, 100)).posting.posting
    entries, postings = await rows_of(ledger, "entry"), await rows_of(ledger, "posting")

    erased = await erase(ledger)

    assert (erased.members_erased, erased.identifiers_erased) == (1, 2)
    assert not erased.postings
    assert await rows_of(ledger, "entry") == entries
    assert await rows_of(ledger, "posting") == postings
    assert await rows_of(ledger, "directory") == []
    assert await rows_of(ledger, "identifier") == []
    for program in ("p1", "p2"):
        unknown = [
            ledger.members.GetMember(account_pb2.GetMemberRequest(program=program, member="ada")),
            ledger.points.GetAccount(ledger_pb2.GetAccountRequest(program=program, member="ada")),
            ledger.points.ListEntries(ledger_pb2.ListEntriesRequest(program=program, member="ada")),
            earn(ledger, 5, program=program),
            lookup(ledger, program=program),
        ]
        for call in unknown:
            assert (await refusal(call)).reason == "MEMBER_NOT_FOUND"
    again = await erase(ledger)
    assert again.replayed
    again.replayed = False
    assert again == erased
    assert (await refusal(erase(ledger, reason="why"))).reason == "REQUEST_ID_REUSED"
    assert (await refusal(erase(ledger, request_id="r2"))).reason == "MEMBER_NOT_FOUND"
    kept = await ledger.points.GetPosting(
        ledger_pb2.GetPostingRequest(program="p1", posting=posting)
    )
    assert kept.member == ""
    assert [entry.points for entry in kept.entries] == [100]


async def test_what_is_left_is_written_off_available_and_pending(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    await enrol(ledger, "ada")
    await enrol(ledger, "ada", program="p2")
    await earn(ledger, 100)
    await earn(ledger, 40, mature_time=at(2400))
    await earn(ledger, 7, program="p2")

    imagined = await erase(ledger, write_off=True, reason="asked for", validate_only=True)
    assert (await lookup_account(ledger)).balances[0].available == 100
    erased = await erase(ledger, write_off=True, reason="asked for")

    for answer in (imagined, erased):
        assert [
            [(entry.points, entry.reason) for entry in posting.entries]
            for posting in answer.postings
        ] == [[(-100, "asked for"), (-40, "asked for")], [(-7, "asked for")]]
    assert await ledger.rows.fetchval("SELECT sum(available + pending) FROM balance") == 0
    assert await ledger.rows.fetchval("SELECT count(*) FROM lot WHERE open") == 0


async def lookup_account(ledger: LedgerUnderTest) -> Any:
    return await ledger.points.GetAccount(ledger_pb2.GetAccountRequest(program="p1", member="ada"))


async def test_the_same_id_enrolled_again_is_somebody_else_for_every_process(
    ledger_database: TestDatabase,
) -> None:
    async with (
        ledger_under_test(ledger_database) as one,
        ledger_under_test(ledger_database) as two,
    ):
        await one.create_organization()
        await one.create_program("p1")
        await enrol(one, "ada", identifier())
        await earn(one, 100)
        # Both processes remember where ada's account was.
        assert (await lookup_account(two)).balances[0].available == 100
        await earn(two, 11)

        await erase(one)

        assert (await refusal(lookup_account(two))).reason == "MEMBER_NOT_FOUND"
        assert (await refusal(earn(two, 12))).reason == "MEMBER_NOT_FOUND"
        await enrol(one, "ada", identifier())
        assert (await earn(two, 100)).account.balances[0].available == 100
        await earn(one, 13)
        assert (await lookup_account(two)).balances[0].available == 113
        assert (await lookup(two)).member == "ada"


async def test_another_organizations_member_of_the_same_id_stays(ledger: LedgerUnderTest) -> None:
    await ledger.create_organization("rival")
    await ledger.create_program("p1")
    rival = metadata(token(organization="rival"))
    await ledger.programs.CreateProgram(
        program_pb2.CreateProgramRequest(program="p1"), metadata=rival
    )
    for credential in (None, rival):
        await ledger.members.EnrolMember(
            account_pb2.EnrolMemberRequest(
                program="p1", member="ada", request_id="e", identifiers=[identifier()]
            ),
            metadata=credential,
        )

    await erase(ledger)

    found = await lookup(ledger, metadata=rival)
    assert found.member == "ada"
    assert (await refusal(lookup(ledger))).reason == "MEMBER_NOT_FOUND"


@pytest.mark.parametrize("frozen", [False, True])
async def test_a_frozen_member_can_be_erased_with_a_write_off(
    ledger: LedgerUnderTest, frozen: bool
) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada")
    await earn(ledger, 100)
    if frozen:
        await ledger.rows.execute("UPDATE account SET state = 2")
        assert (await refusal(earn(ledger, 1))).reason == "MEMBER_FROZEN"

    erased = await erase(ledger, write_off=True, reason="asked for")

    assert [entry.points for entry in erased.postings[0].entries] == [-100]


async def test_a_write_off_needs_a_reason(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada")

    refused = await refusal(erase(ledger, write_off=True))

    assert refused.reason == "INVALID_FIELD"


async def published(
    ledger: LedgerUnderTest, *kinds: "resources_pb2.Change.Kind.ValueType"
) -> list[Any]:
    """What the stream says from its beginning, of these kinds or of all."""
    call = ledger.points.WatchChanges(ledger_pb2.WatchChangesRequest(kinds=kinds))
    changes: list[Any] = []
    async for response in call:
        changes.extend(response.changes)
        if response.HasField("current_time"):
            break
    call.cancel()
    return changes


async def anywhere(ledger: LedgerUnderTest, member: str) -> list[str]:
    """The tables in which an id stands, in whatever column."""
    tables = await ledger.rows.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return [
        row[0]
        for row in tables
        if await ledger.rows.fetchval(
            f"SELECT count(*) FROM {row[0]} t WHERE strpos(t::text, $1) > 0", member
        )
    ]


async def test_the_stream_says_who_was_erased_and_forgets_it_by_and_by(
    ledger: LedgerUnderTest, ledger_database: TestDatabase
) -> None:
    await ledger.create_program("p1")
    for number, member in enumerate(("only.ada", "only.ada.too", "bob")):
        await enrol(ledger, member)
        await earn(ledger, 100 + number, member)
    await ledger.members.MergeMembers(
        group_pb2.MergeMembersRequest(
            program="p1", member="only.ada.too", request_id="merge", into="only.ada"
        )
    )
    done = await erase(ledger, "only.ada", write_off=True, reason="asked for", validate_only=True)
    assert (done.members_erased, done.replayed) == (2, False)
    assert not await published(ledger, resources_pb2.Change.MEMBER_ERASED)

    done = await erase(ledger, "only.ada", write_off=True, reason="asked for")
    again = await erase(ledger, "only.ada", write_off=True, reason="asked for")

    assert again.replayed
    assert [each.posting for each in again.postings] == [each.posting for each in done.postings]
    assert [each.member for each in again.postings] == [""]
    told = await published(ledger, resources_pb2.Change.MEMBER_ERASED)
    assert {(each.organization, each.program, each.member_erased.member) for each in told} == {
        ("acme", "", "only.ada"),
        ("acme", "", "only.ada.too"),
    }
    everything = await published(ledger)
    assert [each for each in everything if each.HasField("member_erased")] == told
    sequences: dict[int, list[int]] = {}
    for each in everything:
        sequences.setdefault(each.bucket, []).append(each.sequence)
    assert all(some == list(range(1, len(some) + 1)) for some in sequences.values())
    # Nothing of the id's own account comes after it.
    assert [each.WhichOneof("fact") for each in everything if each.bucket == told[-1].bucket][
        -1
    ] == "member_erased"
    assert {each.posting.member for each in everything if each.HasField("posting")} == {"", "bob"}
    only_programs = await published(ledger, resources_pb2.Change.PROGRAM_CHANGED)
    assert {each.WhichOneof("fact") for each in only_programs} == {"program_changed"}
    assert await anywhere(ledger, "only.ada") == ["erasure"]
    reconciled = await ledger.reports.ReconcileProgram(
        report_pb2.ReconcileProgramRequest(program="p1")
    )
    assert reconciled.ok, reconciled.differences

    database = engine(ledger_database.dsn, 1)
    context: Any = SimpleNamespace(clock=lambda: datetime.now(UTC), engine=database)
    assert await forget_erasures(context, timedelta(days=1)) == 0
    assert await forget_erasures(context, timedelta(0)) == 2
    await database.dispose()

    assert await anywhere(ledger, "only.ada") == []
    told = await published(ledger, resources_pb2.Change.MEMBER_ERASED)
    assert [each.member_erased.member for each in told] == ["", ""]
    assert all(each.HasField("member_erased") for each in told)
    refused = await refusal(erase(ledger, "only.ada", write_off=True, reason="asked for"))
    assert refused.reason == "MEMBER_NOT_FOUND"


async def test_an_erasure_that_is_cut_short_is_completed_by_the_same_call(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada")
    await earn(ledger, 100)
    publish = erasures.publish
    with monkeypatch.context() as cut:

        async def dies(*args: Any) -> None:
            await publish(*args)
            raise RuntimeError("the process dies here")

        cut.setattr(erasures, "publish", dies)
        assert (await refusal(erase(ledger, write_off=True, reason="why"))).reason == "FAULT"
    assert (await lookup_account(ledger)).balances[0].available == 0
    assert not await published(ledger, resources_pb2.Change.MEMBER_ERASED)

    done = await erase(ledger, write_off=True, reason="why")

    assert [[entry.points for entry in each.entries] for each in done.postings] == [[-100]]
    assert (await refusal(lookup_account(ledger))).reason == "MEMBER_NOT_FOUND"
    assert len(await published(ledger, resources_pb2.Change.MEMBER_ERASED)) == 1


@pytest.mark.parametrize("pooling", [True, False])
async def test_a_member_of_a_group_leaves_it_first(ledger: LedgerUnderTest, pooling: bool) -> None:
    await ledger.create_program("p1", settings=program_pb2.ProgramSettings(**ON))
    await enrol(ledger, "only.ada")
    await ledger.members.CreateGroup(
        group_pb2.CreateGroupRequest(
            program="p1",
            group="family",
            request_id="c",
            kind=resources_pb2.Account.GROUP,
            rules=group_pb2.GroupRules(pooling=pooling),
        )
    )
    named: dict[str, Any] = {"program": "p1", "group": "family", "member": "only.ada"}
    await ledger.members.AddGroupMember(group_pb2.AddGroupMemberRequest(**named, request_id="join"))
    await earn(ledger, 100, "only.ada")

    assert (await refusal(erase(ledger, "only.ada"))).reason == "MEMBER_IN_GROUP"
    await ledger.members.RemoveGroupMember(
        group_pb2.RemoveGroupMemberRequest(**named, request_id="leave")
    )
    await erase(ledger, "only.ada")

    assert await anywhere(ledger, "only.ada") == ["erasure"]
    page = await ledger.members.ListGroupMembers(
        group_pb2.ListGroupMembersRequest(program="p1", group="family", include_former=True)
    )
    assert [each.member for each in page.members] == [""]

"""Merging a member into another one, over a real ledger."""

from typing import Any

from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.ledger.programs_kit import LedgerUnderTest, at

Entry = resources_pb2.Entry


async def furnish(ledger: LedgerUnderTest, program: str = "p1", **settings: Any) -> None:
    """A sandbox that enrols whoever comes, with the counter `visits`."""
    given = program_pb2.ProgramSettings()
    given.program.auto_enrol = True
    given.points.expiry.add(strategy="year", kind="FIXED", months=12)
    await ledger.create_program(program, sandbox=True, start_time=at(2026), settings=given)
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program=program, counter_id="visits")
    )


async def earn(
    ledger: LedgerUnderTest, member: str, points: int, request_id: str = "e1", program: str = "p1"
) -> Any:
    """Give points."""
    return await ledger.points.Earn(
        ledger_pb2.EarnRequest(
            program=program, member=member, request_id=request_id, points=points
        )
    )


async def account(ledger: LedgerUnderTest, member: str, program: str = "p1", **fields: Any) -> Any:
    """What a member has."""
    return await ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(program=program, member=member, **fields)
    )


async def assert_verified(
    ledger: LedgerUnderTest, *members: str, program: str = "p1"
) -> None:
    """The members' own books balance."""
    for member in members:
        answer = await ledger.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program=program, member=member)
        )
        assert answer.ok, (member, answer.findings)


def merge(member: str, into: str, request_id: str = "m1", **fields: Any) -> Any:
    """A request to merge a member."""
    return group_pb2.MergeMembersRequest(
        program="p1", member=member, into=into, request_id=request_id, **fields
    )


async def test_points_move_and_the_old_id_means_the_new(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    first = await earn(ledger, "old", 100)
    await earn(ledger, "new", 5)

    answer = await ledger.members.MergeMembers(merge("old", "new", reason="the same person"))

    assert [entry.kind for entry in answer.posting.entries] == [Entry.LINKED, Entry.MOVED_OUT]
    assert answer.received.entries[0].points == 100
    assert answer.received.entries[0].counterpart == "old"
    assert answer.account.balances[0].available == 105
    assert answer.account.member == "new"
    again = await ledger.members.MergeMembers(merge("old", "new", reason="the same person"))
    assert again.replayed
    assert again.posting == answer.posting
    assert again.received == answer.received
    replayed = await earn(ledger, "old", 100)
    assert replayed.replayed
    assert replayed.posting == first.posting
    later = await earn(ledger, "old", 7, "e2")
    assert (later.posting.member, later.posting.account_member) == ("old", "new")
    assert later.account.balances[0].available == 112
    replayed = await earn(ledger, "old", 7, "e2")
    assert replayed.replayed
    assert replayed.posting == later.posting
    await assert_verified(ledger, "old", "new")


async def test_what_was_earned_before_is_reversed_from_what_moved(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    first = await earn(ledger, "old", 100)
    await earn(ledger, "new", 5)
    await ledger.points.Count(
        ledger_pb2.CountRequest(
            program="p1", member="old", request_id="c1", counter="visits", value=3
        )
    )
    await ledger.members.MergeMembers(merge("old", "new"))

    answer = await ledger.points.ReversePosting(
        ledger_pb2.ReversePostingRequest(
            program="p1", posting=first.posting.posting, request_id="v1", points=60
        )
    )

    assert (answer.reversed, answer.unrecovered) == (60, 0)
    assert (answer.posting.member, answer.posting.account_member) == ("old", "new")
    assert (await account(ledger, "new")).balances[0].available == 45
    windows = [
        resources_pb2.CounterWindow(counter=name, period=resources_pb2.CounterWindow.LIFETIME)
        for name in ("visits", "points_earned")
    ]
    counted = await account(ledger, "old", windows=windows)
    assert [each.value for each in counted.counters] == [3, 45]
    again = await ledger.points.ReversePosting(
        ledger_pb2.ReversePostingRequest(
            program="p1", posting=first.posting.posting, request_id="v1", points=60
        )
    )
    assert again.replayed
    assert again.posting == answer.posting
    await assert_verified(ledger, "old", "new")


async def test_reads_of_the_old_id_answer_the_account_that_remains(
    ledger: LedgerUnderTest,
) -> None:
    await furnish(ledger)
    await earn(ledger, "old", 100)
    await earn(ledger, "new", 5)
    await ledger.members.MergeMembers(merge("old", "new"))

    read = await account(ledger, "old")
    own = await account(ledger, "old", own=True)

    assert (read.member, read.addressed_member, read.balances[0].available) == ("new", "old", 105)
    assert (own.member, own.addressed_member, own.balances[0].available) == ("old", "", 0)
    entries = await ledger.points.ListEntries(
        ledger_pb2.ListEntriesRequest(program="p1", member="old")
    )
    assert [entry.points for entry in entries.entries] == [0, 100, 5, 0]
    assert (entries.entries[0].counter, entries.entries[0].counter_change) == (
        "points_earned:points",
        100,
    )


async def test_a_merge_is_of_all_programs(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)
    await furnish(ledger, "p2")
    await earn(ledger, "old", 100)
    await earn(ledger, "new", 5)
    await earn(ledger, "old", 40, program="p2")
    await furnish(ledger, "p3")

    await ledger.members.MergeMembers(merge("old", "new"))

    assert (await account(ledger, "new", "p2")).balances[0].available == 40
    second = await account(ledger, "old", "p2")
    assert (second.member, second.addressed_member) == ("new", "old")
    third = await earn(ledger, "old", 3, program="p3")
    assert (third.posting.member, third.account.member) == ("new", "new")
    assert (await account(ledger, "new", "p3")).balances[0].available == 3

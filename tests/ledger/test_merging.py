"""Merging a member into another one, over a real ledger."""

from typing import Any

from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.ledger.programs_kit import LedgerUnderTest, at, refusal

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

"""Giving points to another member, over a real ledger."""

from typing import Any

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from tests.ledger.programs_kit import LedgerUnderTest, at

Entry = resources_pb2.Entry


async def furnish(ledger: LedgerUnderTest, **settings: Any) -> None:
    """The sandbox `p1` with transfers, and the members ada (100 points) and bob."""
    given = program_pb2.ProgramSettings()
    given.program.auto_enrol = True
    given.transfer.enabled = True
    given.points.expiry.add(strategy="year", kind="FIXED", months=12)
    for path, value in settings.items():
        group, _, field = path.partition("__")
        setattr(getattr(given, group), field, value)
    await ledger.create_program("p1", sandbox=True, start_time=at(2026), settings=given)
    await earn(ledger, "ada", 100)
    await earn(ledger, "bob", 1)


async def earn(ledger: LedgerUnderTest, member: str, points: int) -> None:
    """Give points."""
    await ledger.points.Earn(
        ledger_pb2.EarnRequest(
            program="p1", member=member, request_id=f"e{member}{points}", points=points
        )
    )


def give(points: int, request_id: str = "t1", **fields: Any) -> ledger_pb2.TransferPointsRequest:
    """A transfer from ada to bob."""
    asked: dict[str, Any] = {
        "program": "p1",
        "member": "ada",
        "recipient": "bob",
        "request_id": request_id,
        "points": points,
    }
    return ledger_pb2.TransferPointsRequest(**{**asked, **fields})


async def available(ledger: LedgerUnderTest, member: str) -> int:
    """A member's available points."""
    account = await ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(program="p1", member=member)
    )
    return int(account.balances[0].available)


async def assert_verified(ledger: LedgerUnderTest, *members: str) -> None:
    """The members' books balance."""
    for member in members:
        answer = await ledger.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program="p1", member=member)
        )
        assert answer.ok, answer.findings


async def test_points_go_to_another_member(ledger: LedgerUnderTest) -> None:
    await furnish(ledger)

    answer = await ledger.points.TransferPoints(give(30, reason="a birthday"))

    (out,), (came,) = answer.posting.entries, answer.received.entries
    assert (out.kind, out.points, out.counterpart, out.reason) == (
        Entry.TRANSFERRED_OUT, -30, "bob", "a birthday",
    )  # fmt: skip
    assert (came.kind, came.points, came.counterpart) == (Entry.TRANSFERRED_IN, 30, "ada")
    assert came.expire_time == at(2027)
    assert answer.posting.peer_posting == answer.received.posting
    assert answer.received.peer_posting == answer.posting.posting
    assert answer.account.balances[0].available == 70
    assert (await available(ledger, "ada"), await available(ledger, "bob")) == (70, 31)
    await assert_verified(ledger, "ada", "bob")

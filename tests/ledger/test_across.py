"""Redeeming across the programs of an organization, over a real ledger."""

from typing import Any

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from tests.ledger.programs_kit import LedgerUnderTest, at

Entry = resources_pb2.Entry
Redemption = program_pb2.RedemptionSettings


async def furnish(
    ledger: LedgerUnderTest, program: str, months: int, strategy: Any = Redemption.FIRST_TO_EXPIRE
) -> None:
    """A sandbox whose points live so many months."""
    given = program_pb2.ProgramSettings()
    given.program.auto_enrol = True
    given.points.expiry.add(strategy="f", kind="FIXED", months=months)
    given.redemption.across_programs = strategy
    given.redemption.reversal = True
    given.redemption.conversion_rate = "0.01"
    await ledger.create_program(program, sandbox=True, start_time=at(2026), settings=given)


async def earn(ledger: LedgerUnderTest, program: str, points: int, request_id: str = "e1") -> None:
    """Give ada points."""
    await ledger.points.Earn(
        ledger_pb2.EarnRequest(program=program, member="ada", request_id=request_id, points=points)
    )


def across(points: int, request_id: str = "x1", **fields: Any) -> Any:
    """A redemption across programs, addressed to p1."""
    return ledger_pb2.RedeemAcrossProgramsRequest(
        **{"program": "p1", "member": "ada", "request_id": request_id, "points": points, **fields}
    )


async def available(ledger: LedgerUnderTest, program: str) -> int:
    """What ada has."""
    account = await ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(program=program, member="ada")
    )
    return int(account.balances[0].available)


async def assert_verified(ledger: LedgerUnderTest, *programs: str) -> None:
    """Ada's books balance."""
    for program in programs:
        answer = await ledger.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program=program, member="ada")
        )
        assert answer.ok, (program, answer.findings)


async def test_first_to_expire_and_back(ledger: LedgerUnderTest) -> None:
    await furnish(ledger, "p1", 12)
    await furnish(ledger, "p2", 3)
    await earn(ledger, "p1", 100)
    await earn(ledger, "p2", 40)

    answer = await ledger.points.RedeemAcrossPrograms(across(60))

    assert [(part.program, part.points, part.value.amount) for part in answer.parts] == [
        ("p1", 20, "0.20"),
        ("p2", 40, "0.40"),
    ]
    assert answer.parts[1].posting.peer_posting == answer.posting.posting
    again = await ledger.points.RedeemAcrossPrograms(across(60))
    assert again.replayed
    assert list(again.parts) == list(answer.parts)
    back = await ledger.points.ReversePosting(
        ledger_pb2.ReversePostingRequest(
            program="p2", posting=answer.parts[1].posting.posting, request_id="v1", points=30
        )
    )
    assert back.reversed == 30
    assert [(each.program, sum(e.points for e in each.entries)) for each in back.others] == [
        ("p1", 10)
    ]
    assert (await available(ledger, "p1"), await available(ledger, "p2")) == (90, 20)
    whole = await ledger.points.ReversePosting(
        ledger_pb2.ReversePostingRequest(
            program="p1", posting=answer.posting.posting, request_id="v2"
        )
    )
    assert whole.reversed == 30
    assert (await available(ledger, "p1"), await available(ledger, "p2")) == (100, 40)
    await assert_verified(ledger, "p1", "p2")

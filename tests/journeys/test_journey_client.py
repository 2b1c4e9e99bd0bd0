"""Points held, returned and given by the Python client, with its API key."""

from typing import Any

import pytest

from loyalty.client import ApiKey, AsyncClient, LoyaltyRefusal, Options
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from tests.gateway.gateway_kit import ADMIN
from tests.journeys.suite_kit import Suite

PROGRAM = "by-client"


async def test_points_are_held_returned_and_given(suite: Suite) -> None:
    addresses = {
        "ledger": f"127.0.0.1:{suite.ports['ledger']}",
        "gateway": f"127.0.0.1:{suite.gateway.grpc}",
    }
    settings = program_pb2.ProgramSettings()
    settings.program.auto_enrol = True
    settings.transfer.enabled = True
    async with AsyncClient(Options(addresses), ApiKey(ADMIN)) as client:
        programs: Any = client.stub(ProgramServiceStub)
        ledger: Any = client.stub(LedgerServiceStub)
        members: Any = client.stub(AccountServiceStub)
        await programs.CreateProgram(
            program_pb2.CreateProgramRequest(program=PROGRAM, settings=settings)
        )
        bought = await ledger.Earn(
            ledger_pb2.EarnRequest(program=PROGRAM, member="client-ada", points=100)
        )
        await ledger.Earn(ledger_pb2.EarnRequest(program=PROGRAM, member="client-bea", points=1))
        held = await ledger.CreateHold(
            ledger_pb2.CreateHoldRequest(program=PROGRAM, member="client-ada", points=60)
        )
        capture = ledger_pb2.CaptureHoldRequest(program=PROGRAM, hold=held.hold.hold, points=50)
        captured = [await ledger.CaptureHold(capture) for _ in range(2)]
        returned = await ledger.ReversePosting(
            ledger_pb2.ReversePostingRequest(
                program=PROGRAM, posting=bought.posting.posting, points=30
            )
        )
        given = await ledger.TransferPoints(
            ledger_pb2.TransferPointsRequest(
                program=PROGRAM, member="client-ada", recipient="client-bea", points=20
            )
        )
        await members.FreezeMember(
            account_pb2.FreezeMemberRequest(program=PROGRAM, member="client-bea", reason="odd")
        )
        with pytest.raises(LoyaltyRefusal) as frozen:
            await ledger.TransferPoints(
                ledger_pb2.TransferPointsRequest(
                    program=PROGRAM, member="client-bea", recipient="client-ada", points=1
                )
            )

    assert [each.replayed for each in captured] == [False, True]
    assert captured[0].posting == captured[1].posting
    assert (returned.reversed, returned.unrecovered) == (30, 0)
    assert given.account.balances[0].available == 0
    assert given.received.member == "client-bea"
    assert (frozen.value.reason, frozen.value.metadata) == (
        "MEMBER_FROZEN",
        {"member": "client-bea"},
    )

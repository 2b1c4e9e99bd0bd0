"""One command that the database refuses, among many that it takes."""

import asyncio
from typing import Any

import grpc
import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from services.ledger.store import save
from tests.ledger.programs_kit import LedgerUnderTest

POISON = "m13"
ROUNDS, MEMBERS = 2, 16


async def test_what_is_answered_beside_it_is_there(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = program_pb2.ProgramSettings()
    settings.program.auto_enrol = True
    await ledger.create_program("p", settings=settings)
    rows = save._balance_rows

    def spoilt(account: Any) -> Any:
        for row in rows(account):
            # More than a balance may be: a constraint of the table refuses it.
            yield (*row[:3], -1, *row[4:]) if account.member == POISON else row

    monkeypatch.setattr(save, "_balance_rows", spoilt)

    async def earn(member: str, number: int) -> str:
        request = ledger_pb2.EarnRequest(
            program="p", member=member, request_id=f"{number}", points=5
        )
        try:
            answer = await ledger.points.Earn(request)
        except grpc.aio.AioRpcError:
            if member != POISON:
                raise
            return ""
        return str(answer.posting.posting)

    for number in range(ROUNDS):
        members = [f"m{each}" for each in range(MEMBERS)]
        answered = await asyncio.gather(*(earn(member, number) for member in members))
        for member, posting in zip(members, answered, strict=True):
            if member == POISON:
                assert not posting
                continue
            request = ledger_pb2.GetPostingRequest(program="p", posting=posting)
            stored = await ledger.points.GetPosting(request)
            assert (stored.member, stored.request_id) == (member, f"{number}")

"""What a call made is gone when it is answered, without the collector of cycles."""

import gc

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from tests.ledger.programs_kit import LedgerUnderTest

CALLS = 40
PER_CALL_MAX = 12
"""The transport leaves six; a transaction and what hangs on it are a hundred."""


async def test_a_posting_leaves_no_cycles_behind(ledger: LedgerUnderTest) -> None:
    settings = program_pb2.ProgramSettings()
    settings.program.auto_enrol = True
    await ledger.create_program("p", settings=settings)

    async def earn_and_redeem(number: int) -> None:
        member = f"m{number % 7}"
        await ledger.points.Earn(
            ledger_pb2.EarnRequest(program="p", member=member, request_id=f"e{number}", points=5)
        )
        await ledger.points.Redeem(
            ledger_pb2.RedeemRequest(program="p", member=member, request_id=f"r{number}", points=5)
        )

    for number in range(CALLS):
        await earn_and_redeem(number)
    gc.collect()
    gc.disable()
    try:
        for number in range(CALLS, 2 * CALLS):
            await earn_and_redeem(number)
        left = gc.collect()
    finally:
        gc.enable()

    assert left < 2 * CALLS * PER_CALL_MAX

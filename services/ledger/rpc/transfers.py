"""Methods of `LedgerService` that touch several accounts."""

from loyalty.ledger.v1 import ledger_pb2
from services.ledger.domain.account import Posting
from services.ledger.domain.commands import RedeemAcross, TransferPoints
from services.ledger.domain.policy import Policy
from services.ledger.operations.across import redeem_across_programs
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.transfer import transfer_points
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context
from services.ledger.rpc.named import named_command
from services.ledger.rpc.translate import fill_posting, worth


class TransferServicer:
    """Transfers, and redemptions across programs."""

    _ledger: LedgerContext

    async def TransferPoints(
        self, request: ledger_pb2.TransferPointsRequest, context: Context
    ) -> ledger_pb2.TransferPointsResponse:
        """Give points to another member."""
        operation = TransferPoints(
            request.recipient, request.points, request.currency, request.reason
        )
        command = named_command(request, "transfer", request.member, operation)
        written = await transfer_points(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = ledger_pb2.TransferPointsResponse()
        answer(response, written, request.program, request.member)
        for side in written.sides:
            fill_posting(response.received, side.posting, request.program, side.policy)
        return response

    async def RedeemAcrossPrograms(
        self, request: ledger_pb2.RedeemAcrossProgramsRequest, context: Context
    ) -> ledger_pb2.RedeemAcrossProgramsResponse:
        """Spend points of several programs."""
        programs = tuple(dict.fromkeys(request.programs))
        operation = RedeemAcross(request.points, programs)
        command = named_command(request, "redeemAcross", request.member, operation)
        written, ids = await redeem_across_programs(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = ledger_pb2.RedeemAcrossProgramsResponse()
        answer(response, written, request.program, request.member)
        _fill_part(response, request.program, written.posting, written.policy)
        for side in sorted(written.sides, key=lambda side: ids[side.program]):
            _fill_part(response, ids[side.program], side.posting, side.policy)
        return response


def _fill_part(
    response: ledger_pb2.RedeemAcrossProgramsResponse,
    program: str,
    posting: Posting,
    policy: Policy,
) -> None:
    """Say what a program gave, if it did."""
    points = -sum(entry.points for entry in posting.entries)
    if points:
        part = response.parts.add(program=program, points=points, value=worth(posting, policy))
        fill_posting(part.posting, posting, program, policy)

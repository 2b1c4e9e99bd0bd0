"""Transfers and redemptions across programs between messages and the domain."""

import hashlib
from typing import TypeAlias

from loyalty.ledger.v1 import ledger_pb2
from services.ledger.domain.commands import Command, Operation, TransferPoints
from services.ledger.operations.context import Caller
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.transfer import transfer_points
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.translate import expectation, fill_posting, instant

Request: TypeAlias = ledger_pb2.TransferPointsRequest | ledger_pb2.RedeemAcrossProgramsRequest

_NOT_COMPARED = ("program", "member", "request_id", "validate_only", "preconditions")


def _command(request: Request, caller: Caller, kind: bytes, operation: Operation) -> Command:
    """The command of a request; its digest is of the request without what is not compared."""
    canonical = type(request)()
    canonical.CopyFrom(request)  # type: ignore[arg-type]  # it is of the same type
    for field in _NOT_COMPARED:
        canonical.ClearField(field)  # type: ignore[arg-type]  # both have these fields
    content = kind + canonical.SerializeToString(deterministic=True)
    preconditions = request.preconditions
    expected = preconditions.HasField("expected_version")
    return Command(
        organization=caller.organization,
        program=request.program,
        member=request.member,
        request_id=request.request_id,
        digest=hashlib.sha256(content).digest()[:16],
        operations=(operation,),
        effective_time=(
            instant(request.effective_time) if request.HasField("effective_time") else None
        ),
        reference=request.reference,
        actor=caller.actor,
        expected_version=preconditions.expected_version if expected else None,
        expect=tuple(expectation(each) for each in preconditions.expect),
    )


class TransferServicer:
    """Methods of `LedgerService` that touch several accounts."""

    _ledger: LedgerContext

    async def TransferPoints(
        self, request: ledger_pb2.TransferPointsRequest, context: Context
    ) -> ledger_pb2.TransferPointsResponse:
        """Give points to another member."""
        command = _transfer(request, current_caller())
        written = await transfer_points(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = ledger_pb2.TransferPointsResponse()
        answer(response, written, request.program, request.member)
        for side in written.sides:
            fill_posting(response.received, side.posting, request.program, side.policy)
        return response


def _transfer(request: ledger_pb2.TransferPointsRequest, caller: Caller) -> Command:
    """The command of a transfer."""
    operation = TransferPoints(request.recipient, request.points, request.currency, request.reason)
    return _command(request, caller, b"transfer", operation)

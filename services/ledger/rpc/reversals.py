"""Methods of `LedgerService` that name a posting: reversing it, and maturing what it gave."""

from collections.abc import Sequence
from uuid import UUID

from chassis.call import log_fields
from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import ledger_pb2
from services.ledger.domain.account import Kind, Posting
from services.ledger.domain.commands import ActivatePending, Reverse
from services.ledger.operations.across import ReversePlan, program_id
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.operations.post import apply, post
from services.ledger.operations.reversals import (
    FoundPosting,
    entries_given,
    find_posting,
    others_of,
)
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.named import named_command
from services.ledger.rpc.translate import fill_posting

_BY_OPERATOR = (
    ledger_pb2.ReversePostingRequest.CAUSE_UNSPECIFIED,
    ledger_pb2.ReversePostingRequest.OPERATOR,
)


class ReversalServicer:
    """Reversals and activation."""

    _ledger: LedgerContext

    async def ReversePosting(
        self, request: ledger_pb2.ReversePostingRequest, context: Context
    ) -> ledger_pb2.ReversePostingResponse:
        """Take back or give back what a posting did."""
        _check_parts(request)
        organization = current_caller().organization
        found = await find_posting(
            self._ledger, organization, request.program, request.posting, request.member
        )
        posting = found.stored.posting
        command = named_command(
            request, "reversePosting", posting.member, _reversal(request, found)
        )
        others = [] if request.parts else await others_of(self._ledger, found)
        plan = _plan(request, others) if others else None
        item = Item(
            command=command,
            key=found.stored.account,
            view=True,
            stay=True,
            of=posting.addressee,
            whose=found.account_member,
            plan=plan or found.recall(),
            also=() if plan is None else plan.keys(),
        )
        written = await apply(
            self._ledger, item, validate_only=request.validate_only, deadline=deadline()
        )
        response = ledger_pb2.ReversePostingResponse()
        answer(response, written, request.program, posting.member)
        _fill_sums(response, written.posting)
        for side in written.sides if others else ():
            program = await program_id(self._ledger, side.program)
            fill_posting(response.others.add(), side.posting, program, side.policy)
            _fill_sums(response, side.posting)
        log_fields(request_id=request.request_id, posting_id=response.posting.posting)
        return response

    async def ActivatePending(
        self, request: ledger_pb2.ActivatePendingRequest, context: Context
    ) -> ledger_pb2.ActivatePendingResponse:
        """Mature pending points now."""
        given = None
        if request.posting:
            organization = current_caller().organization
            given = await entries_given(
                self._ledger, organization, request.program, request.posting
            )
        lot = UUID(request.lot) if request.lot else None
        operation = ActivatePending(request.currency, request.posting, given, lot)
        command = named_command(request, "activatePending", request.member, operation)
        written = await post(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        log_fields(request_id=request.request_id, posting_id=str(written.posting.id() or ""))
        response = ledger_pb2.ActivatePendingResponse()
        return answer(response, written, request.program, request.member)


def _check_parts(request: ledger_pb2.ReversePostingRequest) -> None:
    if request.parts and request.points:
        raise InvalidField(FieldViolation("points", "not with parts"))
    if len({part.entry for part in request.parts}) < len(request.parts):
        raise InvalidField(FieldViolation("parts", "an entry is named twice"))


def _plan(request: ledger_pb2.ReversePostingRequest, others: Sequence[FoundPosting]) -> ReversePlan:
    return ReversePlan(
        tuple(
            (
                _reversal(request, each),
                each.stored.posting.addressee,
                each.stored.posting.member,
                each.account_member,
            )
            for each in others
        )
    )


def _reversal(request: ledger_pb2.ReversePostingRequest, found: FoundPosting) -> Reverse:
    return Reverse(
        posting=request.posting,
        account=found.stored.account,
        entries=tuple(found.stored.posting.entries),
        points=request.points,
        parts=tuple((part.entry, part.points) for part in request.parts),
        by_operator=request.cause in _BY_OPERATOR,
        reason=request.reason,
        lots=found.lots,
    )


def _fill_sums(response: ledger_pb2.ReversePostingResponse, posting: Posting) -> None:
    """What was taken or given back, what could not be, and what had expired."""
    for entry in posting.entries:
        if entry.kind is Kind.EARNING_REVERSED and entry.requested:
            response.reversed -= entry.points
            response.unrecovered += entry.unrecovered or 0
            response.expired += entry.expired or 0
        elif entry.kind is Kind.REDEMPTION_RESTORED:
            response.reversed += entry.points
        elif entry.kind is Kind.EXPIRED:
            response.expired -= entry.points

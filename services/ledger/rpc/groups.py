"""Merging members, groups and fleets: methods of `AccountService`."""

import hashlib
from typing import TypeAlias

from loyalty.ledger.v1 import group_pb2
from services.ledger.domain.commands import Command, MergeMembers, Operation
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.merge import merge_members
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.translate import fill_posting

Request: TypeAlias = group_pb2.MergeMembersRequest

_NOT_COMPARED = ("program", "member", "request_id", "validate_only")


def _command(request: Request, member: str, kind: bytes, operation: Operation) -> Command:
    """The command of a request; its digest is of the request without what is not compared."""
    caller = current_caller()
    canonical = type(request)()
    canonical.CopyFrom(request)
    for field in _NOT_COMPARED:
        if field in canonical.DESCRIPTOR.fields_by_name:
            canonical.ClearField(field)  # type: ignore[arg-type]  # the message has the field
    content = kind + canonical.SerializeToString(deterministic=True)
    return Command(
        organization=caller.organization,
        program=request.program,
        member=member,
        request_id=request.request_id,
        digest=hashlib.sha256(content).digest()[:16],
        operations=(operation,),
        reference=request.reference,
        actor=caller.actor,
    )


class GroupServicer:
    """Translates, and decides nothing."""

    _ledger: LedgerContext

    async def MergeMembers(
        self, request: group_pb2.MergeMembersRequest, context: Context
    ) -> group_pb2.MergeMembersResponse:
        """Merge a member into another one."""
        operation = MergeMembers(request.into, request.reason)
        command = _command(request, request.member, b"merge", operation)
        written = await merge_members(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = group_pb2.MergeMembersResponse()
        answer(response, written, request.program, request.into)
        if written.sides:
            side = written.sides[0]
            fill_posting(response.received, side.posting, request.program, side.policy)
        return response

"""Methods of `AccountService` that freeze and unfreeze a member."""

from loyalty.ledger.v1 import account_pb2
from services.ledger.domain.commands import Command, Freeze, Unfreeze
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.operations.post import Written, apply
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context
from services.ledger.rpc.named import named_command


class FreezingServicer:
    """Freezing and unfreezing."""

    _ledger: LedgerContext

    async def FreezeMember(
        self, request: account_pb2.FreezeMemberRequest, context: Context
    ) -> account_pb2.FreezeMemberResponse:
        """Let no points of a member move."""
        command = named_command(request, "freezeMember", request.member, Freeze(request.reason))
        written = await self._own(command, validate_only=request.validate_only)
        return answer(account_pb2.FreezeMemberResponse(), written, request.program, request.member)

    async def UnfreezeMember(
        self, request: account_pb2.UnfreezeMemberRequest, context: Context
    ) -> account_pb2.UnfreezeMemberResponse:
        """Let the points of a frozen member move again."""
        operation = Unfreeze(request.reason)
        command = named_command(request, "unfreezeMember", request.member, operation)
        written = await self._own(command, validate_only=request.validate_only)
        response = account_pb2.UnfreezeMemberResponse()
        return answer(response, written, request.program, request.member)

    async def _own(self, command: Command, *, validate_only: bool) -> Written:
        """Apply a command to the member's own account: a group's other members go on."""
        name = await self._ledger.name(command.organization, command.program, command.member)
        item = Item(command=command, name=name, view=True, stay=True)
        return await apply(self._ledger, item, validate_only=validate_only, deadline=deadline())

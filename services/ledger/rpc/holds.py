"""Methods of `LedgerService` that set points aside and end it."""

from uuid import UUID

from chassis.call import log_fields
from chassis.paging import decode_token, encode_token, page_size
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.ledger.domain.account import Hold
from services.ledger.domain.commands import CaptureHold, Command, CreateHold, ReleaseHold
from services.ledger.domain.policy import Policy
from services.ledger.operations.holds import (
    FoundHold,
    find_hold,
    get_hold,
    hold_id,
    lots_of_hold,
    page_of_holds,
)
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.operations.post import Written, apply, post
from services.ledger.operations.read_history import FIRST_PAGE
from services.ledger.operations.sight import Member
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.named import given, named_command
from services.ledger.rpc.translate import stamp, worth


class HoldServicer:
    """Holds: create, capture, release, read."""

    _ledger: LedgerContext

    async def CreateHold(
        self, request: ledger_pb2.CreateHoldRequest, context: Context
    ) -> ledger_pb2.CreateHoldResponse:
        """Set points aside."""
        operation = CreateHold(request.points, request.currency, given(request, "expire_time"))
        command = named_command(request, "createHold", request.member, operation)
        written = await post(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = ledger_pb2.CreateHoldResponse()
        answer(response, written, request.program, request.member)
        response.hold.CopyFrom(
            await self._hold_after(written, request.program, response.posting.posting)
        )
        log_fields(request_id=request.request_id, posting_id=response.posting.posting)
        return response

    async def CaptureHold(
        self, request: ledger_pb2.CaptureHoldRequest, context: Context
    ) -> ledger_pb2.CaptureHoldResponse:
        """Redeem held points."""
        found = await self._find(request)
        operation = CaptureHold(
            found.hold.sequence, request.hold, found.key, found.hold.state, request.points
        )
        command = named_command(request, "captureHold", found.member, operation)
        written = await self._close(found, command, validate_only=request.validate_only)
        response = ledger_pb2.CaptureHoldResponse(value=worth(written.posting, written.policy))
        answer(response, written, request.program, found.member)
        response.hold.CopyFrom(await self._hold_after(written, request.program, request.hold))
        return response

    async def ReleaseHold(
        self, request: ledger_pb2.ReleaseHoldRequest, context: Context
    ) -> ledger_pb2.ReleaseHoldResponse:
        """Give held points back."""
        found = await self._find(request)
        operation = ReleaseHold(found.hold.sequence, request.hold, found.key, found.hold.state)
        command = named_command(request, "releaseHold", found.member, operation)
        written = await self._close(found, command, validate_only=request.validate_only)
        response = ledger_pb2.ReleaseHoldResponse()
        answer(response, written, request.program, found.member)
        response.hold.CopyFrom(await self._hold_after(written, request.program, request.hold))
        return response

    async def GetHold(
        self, request: ledger_pb2.GetHoldRequest, context: Context
    ) -> resources_pb2.Hold:
        """Answer a hold."""
        organization = current_caller().organization
        found = await get_hold(self._ledger, organization, request.program, request.hold)
        lots = await lots_of_hold(self._ledger, found.key, found.hold)
        return hold_message(
            found.hold, request.hold, lots, request.program, found.member, found.policy
        )

    async def ListHolds(
        self, request: ledger_pb2.ListHoldsRequest, context: Context
    ) -> ledger_pb2.ListHoldsResponse:
        """List a member's holds."""
        organization = current_caller().organization
        query: dict[str, object] = {
            "list": "holds",
            "organization": organization,
            "program": request.program,
            "member": request.member,
            "include_closed": request.include_closed,
        }
        position = decode_token(request.page_token, query, (int,))
        page = await page_of_holds(
            self._ledger,
            Member(organization, request.program, request.member),
            request.include_closed,
            int(position[0]) if position else FIRST_PAGE,
            page_size(request.page_size),
        )
        return ledger_pb2.ListHoldsResponse(
            holds=[
                hold_message(
                    hold, str(hold_id(hold, page.key[0])), page.lots, request.program,
                    request.member, page.policy,
                )
                for hold in page.holds
            ],
            next_page_token=encode_token(query, (page.holds[-1].sequence,)) if page.more else "",
        )  # fmt: skip

    async def _find(
        self, request: ledger_pb2.CaptureHoldRequest | ledger_pb2.ReleaseHoldRequest
    ) -> FoundHold:
        organization = current_caller().organization
        return await find_hold(
            self._ledger, organization, request.program, request.hold, request.member
        )

    async def _close(self, found: FoundHold, command: Command, *, validate_only: bool) -> Written:
        item = Item(
            command=command,
            key=found.key,
            view=True,
            stay=True,
            of=found.of,
            whose=found.account_member,
        )
        written = await apply(self._ledger, item, validate_only=validate_only, deadline=deadline())
        log_fields(request_id=command.request_id, posting_id=str(written.posting.id() or ""))
        return written

    async def _hold_after(self, written: Written, program: str, hold: str) -> resources_pb2.Hold:
        """The hold that a command made or closed: of a replay, as it is stored."""
        posting = written.posting
        if posting.hold is not None:
            return hold_message(
                posting.hold, hold, posting.lots, program, posting.member, written.policy
            )
        organization = current_caller().organization
        found = await find_hold(self._ledger, organization, program, hold)
        lots = await lots_of_hold(self._ledger, found.key, found.hold)
        return hold_message(found.hold, hold, lots, program, found.member, found.policy)


def hold_message(
    hold: Hold, name: str, lots: dict[int, UUID], program: str, member: str, policy: Policy
) -> resources_pb2.Hold:
    """A hold as it is answered; `lots` are ids by sequence."""
    message = resources_pb2.Hold(
        hold=name,
        program=program,
        member=member,
        state=resources_pb2.Hold.State.ValueType(hold.state),
        currency=policy.config.currencies[hold.currency].id,
        points=hold.points,
        captured=hold.captured,
        create_time=stamp(hold.create_time),
        expire_time=stamp(hold.expire_time),
    )
    for sequence, points in hold.parts:
        message.draws.add(lot=str(lots.get(sequence, "")), points=points)
    return message

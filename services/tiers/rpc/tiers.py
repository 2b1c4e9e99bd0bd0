"""`TierService`: keeps ladders, and where members stand on them."""

from collections.abc import AsyncIterator

from chassis.identity import SERVICE_SCOPE, current_identity
from chassis.paging import decode_token, encode_token, page_size
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceServicer
from services.tiers.operations import ladders, memberships
from services.tiers.operations.context import TiersContext
from services.tiers.operations.history import LATEST, page_of_history
from services.tiers.operations.ladders import LadderUpdate
from services.tiers.operations.watch_changes import watch_changes
from services.tiers.rpc import translate
from services.tiers.rpc.calls import Context, current_caller, program_of


class TierServicer(TierServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: TiersContext) -> None:
        self._tiers = context

    async def CreateLadder(
        self, request: tiers_pb2.CreateLadderRequest, context: Context
    ) -> tiers_pb2.Ladder:
        """Create a program's ladder."""
        asked = translate.ladder_given(request.ladder_id, request.ladder, "ladder")
        created = await ladders.create_ladder(self._tiers, current_caller(), request.program, asked)
        return translate.ladder_message(request.program, created)

    async def GetLadder(
        self, request: tiers_pb2.GetLadderRequest, context: Context
    ) -> tiers_pb2.Ladder:
        """Answer one ladder."""
        found = await ladders.get_ladder(self._tiers, program_of(request.program), request.ladder)
        return translate.ladder_message(request.program, found)

    async def ListLadders(
        self, request: tiers_pb2.ListLaddersRequest, context: Context
    ) -> tiers_pb2.ListLaddersResponse:
        """List a program's ladders: one."""
        program = program_of(request.program)
        query = {"list": "ladders", "organization": program.organization, "program": program.id}
        position = decode_token(request.page_token, query, (str,))
        found = await ladders.ladder_of(self._tiers, program)
        if position is not None and str(position[0]) >= found.id:
            return tiers_pb2.ListLaddersResponse()
        return tiers_pb2.ListLaddersResponse(
            ladders=[translate.ladder_message(request.program, found)]
        )

    async def UpdateLadder(
        self, request: tiers_pb2.UpdateLadderRequest, context: Context
    ) -> tiers_pb2.Ladder:
        """Change a ladder."""
        update = LadderUpdate(
            given=translate.fields_given(request.changes, "changes"),
            mask=tuple(request.update_mask.paths),
            etag=request.etag,
        )
        changed = await ladders.update_ladder(
            self._tiers, current_caller(), request.program, request.ladder, update
        )
        return translate.ladder_message(request.program, changed)

    async def GetMembership(
        self, request: tiers_pb2.GetMembershipRequest, context: Context
    ) -> tiers_pb2.Membership:
        """Answer where a member stands."""
        found = await memberships.get_membership(
            self._tiers, program_of(request.program), request.member
        )
        return translate.membership_message(request.program, found)

    async def BatchGetMemberships(
        self, request: tiers_pb2.BatchGetMembershipsRequest, context: Context
    ) -> tiers_pb2.BatchGetMembershipsResponse:
        """Answer where many members stand."""
        found = await memberships.get_memberships(
            self._tiers, program_of(request.program), request.members, brief=request.brief
        )
        return translate.memberships_message(request.program, found, brief=request.brief)

    async def EvaluateMember(
        self, request: tiers_pb2.EvaluateMemberRequest, context: Context
    ) -> tiers_pb2.Membership:
        """Evaluate a member now."""
        found = await memberships.evaluate_member(
            self._tiers, program_of(request.program), request.member
        )
        return translate.membership_message(request.program, found)

    async def BatchEvaluateMembers(
        self, request: tiers_pb2.BatchEvaluateMembersRequest, context: Context
    ) -> tiers_pb2.BatchGetMembershipsResponse:
        """Evaluate many members now."""
        found = await memberships.evaluate_members(
            self._tiers, program_of(request.program), request.members
        )
        return translate.memberships_message(request.program, found)

    async def ListMembershipHistory(
        self, request: tiers_pb2.ListMembershipHistoryRequest, context: Context
    ) -> tiers_pb2.ListMembershipHistoryResponse:
        """List where a member stood, the latest change first."""
        program = program_of(request.program)
        query = {
            "list": "membership history",
            "organization": program.organization,
            "program": program.id,
            "member": request.member,
        }
        position = decode_token(request.page_token, query, (int,))
        before = LATEST if position is None else int(position[0])
        found, more = await page_of_history(
            self._tiers, program, request.member, before, page_size(request.page_size)
        )
        return tiers_pb2.ListMembershipHistoryResponse(
            changes=[translate.move_message(each) for each in found],
            next_page_token=encode_token(query, (found[-1].change.sequence,)) if more else "",
        )

    async def WatchChanges(
        self, request: tiers_pb2.WatchChangesRequest, context: Context
    ) -> AsyncIterator[tiers_pb2.WatchChangesResponse]:
        """Stream the changes of the caller's organization, or to a service those of all."""
        caller = current_identity()
        organization = None if SERVICE_SCOPE in caller.scopes else caller.organization
        async for page in watch_changes(
            self._tiers, organization, dict(request.cursors), list(request.buckets)
        ):
            yield translate.page_message(page)

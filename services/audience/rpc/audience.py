"""`AudienceService`: sets of members, and who belongs to them."""

from chassis.paging import decode_token, encode_token, page_size
from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceServicer
from services.audience.operations import audiences, members
from services.audience.operations.context import AudienceContext
from services.audience.rpc import translate
from services.audience.rpc.calls import Context, current_caller


class AudienceServicer(AudienceServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: AudienceContext) -> None:
        self._context = context

    async def CreateAudience(
        self, request: audience_pb2.CreateAudienceRequest, context: Context
    ) -> audience_pb2.Audience:
        """Create an audience."""
        created = await audiences.create_audience(
            self._context,
            current_caller(),
            request.program,
            request.audience_id,
            translate.definition(request.audience),
        )
        return translate.audience_message(request.program, created.audience, created.size)

    async def GetAudience(
        self, request: audience_pb2.GetAudienceRequest, context: Context
    ) -> audience_pb2.Audience:
        """Answer one audience."""
        found = await audiences.get_audience(
            self._context, current_caller(), request.program, request.audience
        )
        return translate.audience_message(request.program, found.audience, found.size)

    async def ListAudiences(
        self, request: audience_pb2.ListAudiencesRequest, context: Context
    ) -> audience_pb2.ListAudiencesResponse:
        """List a program's audiences."""
        caller = current_caller()
        query = {
            "list": "audiences",
            "organization": caller.organization,
            "program": request.program,
        }
        after = _position(request.page_token, query)
        size = page_size(request.page_size)
        _, existing = await audiences.list_audiences(self._context, caller, request.program)
        found = [each for each in existing if each.id > after]
        return audience_pb2.ListAudiencesResponse(
            audiences=[translate.audience_message(request.program, each) for each in found[:size]],
            next_page_token=_token(query, found[size - 1].id) if len(found) > size else "",
        )

    async def UpdateAudience(
        self, request: audience_pb2.UpdateAudienceRequest, context: Context
    ) -> audience_pb2.Audience:
        """Change an audience."""
        changed = await audiences.update_audience(
            self._context,
            current_caller(),
            request.program,
            request.audience,
            audiences.Update(
                translate.given(request.changes), request.update_mask.paths, request.etag
            ),
        )
        return translate.audience_message(request.program, changed.audience, changed.size)

    async def DeleteAudience(
        self, request: audience_pb2.DeleteAudienceRequest, context: Context
    ) -> audience_pb2.DeleteAudienceResponse:
        """Delete an audience."""
        await audiences.delete_audience(
            self._context, current_caller(), request.program, request.audience, request.etag
        )
        return audience_pb2.DeleteAudienceResponse()

    async def CheckMembership(
        self, request: audience_pb2.CheckMembershipRequest, context: Context
    ) -> audience_pb2.CheckMembershipResponse:
        """Answer whether a member belongs, and why."""
        checked = await members.check_membership(
            self._context, current_caller(), request.program, request.member, request.audience
        )
        return audience_pb2.CheckMembershipResponse(
            belongs=checked.belongs(),
            results=[translate.result_message(each) for each in checked.results],
            freshness=translate.freshness_message(checked.freshness),
        )

    async def ListMemberAudiences(
        self, request: audience_pb2.ListMemberAudiencesRequest, context: Context
    ) -> audience_pb2.ListMemberAudiencesResponse:
        """List the audiences that a member belongs to."""
        caller = current_caller()
        query = {
            "list": "member audiences",
            "organization": caller.organization,
            "program": request.program,
            "member": request.member,
        }
        page = await members.page_of_member_audiences(
            self._context,
            caller,
            request.program,
            request.member,
            _position(request.page_token, query),
            page_size(request.page_size),
        )
        return audience_pb2.ListMemberAudiencesResponse(
            audiences=[
                translate.audience_message(request.program, each) for each in page.audiences
            ],
            next_page_token=_token(query, page.audiences[-1].id) if page.more else "",
            freshness=translate.freshness_message(page.freshness),
        )

    async def ListAudienceMembers(
        self, request: audience_pb2.ListAudienceMembersRequest, context: Context
    ) -> audience_pb2.ListAudienceMembersResponse:
        """List the members of an audience."""
        caller = current_caller()
        query = {
            "list": "audience members",
            "organization": caller.organization,
            "program": request.program,
            "audience": request.audience,
        }
        page = await members.page_of_members(
            self._context,
            caller,
            request.program,
            request.audience,
            _position(request.page_token, query),
            page_size(request.page_size),
        )
        return audience_pb2.ListAudienceMembersResponse(
            members=page.members,
            next_page_token=_token(query, page.members[-1]) if page.more else "",
            freshness=translate.freshness_message(page.freshness),
        )

    async def PreviewAudience(
        self, request: audience_pb2.PreviewAudienceRequest, context: Context
    ) -> audience_pb2.PreviewAudienceResponse:
        """Answer who would belong."""
        preview = await audiences.preview_audience(
            self._context,
            current_caller(),
            request.program,
            translate.criteria(request.criteria),
        )
        return audience_pb2.PreviewAudienceResponse(
            size=preview.size,
            members=preview.members,
            freshness=translate.freshness_message(preview.freshness),
        )


def _position(token: str, query: dict[str, str]) -> str:
    """The id after which a page begins; empty for the first one."""
    position = decode_token(token, query, (str,))
    return str(position[0]) if position else ""


def _token(query: dict[str, str], last: str) -> str:
    return encode_token(query, (last,))

"""`AccountService`: who is a member of a program."""

from chassis.call import log_fields
from chassis.identity import current_identity
from chassis.paging import decode_token, encode_token, page_size
from chassis.refusals import ScopeMissing
from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import account_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceServicer
from services.ledger.operations import members
from services.ledger.operations.context import ProgramContext
from services.ledger.operations.erase_member import Erasure, erase_member
from services.ledger.operations.hashing import hashing_of
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.members import MemberUpdate
from services.ledger.operations.post import batch_post, post
from services.ledger.rpc import member_translate, translate
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.freezing import FreezingServicer
from services.ledger.rpc.groups import GroupServicer

POINTS_SCOPE = "ledger:write"


class AccountServicer(FreezingServicer, GroupServicer, AccountServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, programs: ProgramContext, ledger: LedgerContext) -> None:
        self._programs = programs
        self._ledger = ledger

    async def EnrolMember(
        self, request: account_pb2.EnrolMemberRequest, context: Context
    ) -> account_pb2.EnrolMemberResponse:
        """Enrol a member and open its account."""
        caller = current_caller()
        hashing = await hashing_of(self._ledger, caller.organization)
        command = member_translate.enrolment(request, caller, hashing)
        written = await post(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        return answer(account_pb2.EnrolMemberResponse(), written, request.program, request.member)

    async def GetMember(
        self, request: account_pb2.GetMemberRequest, context: Context
    ) -> account_pb2.Member:
        """Answer one member."""
        found = await members.get_member(
            self._programs, current_caller(), request.program, request.member
        )
        return member_translate.member(request.program, found)

    async def LookupMember(
        self, request: account_pb2.LookupMemberRequest, context: Context
    ) -> account_pb2.Member:
        """Answer the member who has an identifier."""
        caller = current_caller()
        hashing = await hashing_of(self._ledger, caller.organization)
        identifier = hashing.identifier(request.kind, request.value)
        found = await members.lookup_member(self._programs, caller, request.program, identifier)
        return member_translate.member(request.program, found)

    async def UpdateMember(
        self, request: account_pb2.UpdateMemberRequest, context: Context
    ) -> account_pb2.Member:
        """Change a member's billing day and identifiers."""
        caller = current_caller()
        hashing = await hashing_of(self._ledger, caller.organization)
        update = MemberUpdate(
            billing_day=request.changes.billing_day,
            mask=tuple(request.update_mask.paths),
            etag=request.etag,
            add=member_translate.identifiers(hashing, request.add_identifiers),
            remove=member_translate.identifiers(hashing, request.remove_identifiers),
            validate_only=request.validate_only,
        )
        changed = await members.update_member(
            self._programs, caller, request.program, request.member, update
        )
        return member_translate.member(request.program, changed)

    async def ImportMembers(
        self, request: account_pb2.ImportMembersRequest, context: Context
    ) -> account_pb2.ImportMembersResponse:
        """Take in members of another system, each row with its own result."""
        if any(row.balances for row in request.rows):
            _require_points_scope()
        caller = current_caller()
        hashing = await hashing_of(self._ledger, caller.organization)
        commands = member_translate.imports(request, caller, hashing)
        results = await batch_post(
            self._ledger, commands, validate_only=request.validate_only, deadline=deadline()
        )
        return member_translate.import_results(request.program, results)

    async def EraseMember(
        self, request: account_pb2.EraseMemberRequest, context: Context
    ) -> account_pb2.EraseMemberResponse:
        """Erase the person behind a member."""
        if request.write_off and not request.reason:
            raise InvalidField(FieldViolation("reason", "is required with write_off"))
        if request.write_off:
            _require_points_scope()
        erasure = Erasure(
            program=request.program,
            member=request.member,
            request_id=request.request_id,
            write_off=request.write_off,
            reason=request.reason,
            validate_only=request.validate_only,
            deadline=deadline(),
        )
        erased = await erase_member(self._programs, self._ledger, current_caller(), erasure)
        log_fields(request_id=request.request_id)
        return account_pb2.EraseMemberResponse(
            postings=[
                translate.posting_message(written.posting, program, written.policy)
                for program, written in erased.postings
            ],
            members_erased=erased.members,
            identifiers_erased=erased.identifiers,
            replayed=erased.replayed,
        )

    async def ListMembers(
        self, request: account_pb2.ListMembersRequest, context: Context
    ) -> account_pb2.ListMembersResponse:
        """List the members of a program."""
        caller = current_caller()
        query = {
            "list": "members",
            "organization": caller.organization,
            "program": request.program,
        }
        if request.include_merged:
            query["merged"] = "included"
        position = decode_token(request.page_token, query, (int, int))
        after = (int(position[0]), int(position[1])) if position else (-1, -1)
        found, more = await members.page_of_members(
            self._programs,
            caller,
            request.program,
            after,
            page_size(request.page_size),
            merged=request.include_merged,
        )
        return account_pb2.ListMembersResponse(
            members=[member_translate.member(request.program, each) for each in found],
            next_page_token=(
                encode_token(query, (found[-1].account, found[-1].bucket)) if more else ""
            ),
        )


def _require_points_scope() -> None:
    """Who only keeps members gives and takes no points. Refuses with SCOPE_MISSING."""
    if POINTS_SCOPE not in current_identity().scopes:
        raise ScopeMissing(POINTS_SCOPE)

"""`AccountService`: who is a member of a program."""

from chassis.paging import decode_token, encode_token, page_size
from loyalty.ledger.v1 import account_pb2, resources_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceServicer
from services.ledger.operations import members
from services.ledger.operations.context import ProgramContext
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.post import post
from services.ledger.rpc import translate
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.ledger import answer, deadline
from services.ledger.rpc.program_translate import timestamp_of
from services.ledger.store.members import MemberRow


class AccountServicer(AccountServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, programs: ProgramContext, ledger: LedgerContext) -> None:
        self._programs = programs
        self._ledger = ledger

    async def EnrolMember(
        self, request: account_pb2.EnrolMemberRequest, context: Context
    ) -> account_pb2.EnrolMemberResponse:
        """Enrol a member and open its account."""
        command = translate.enrolment(request, current_caller())
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
        return _member(request.program, found)

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
        position = decode_token(request.page_token, query, (int,))
        after = int(position[0]) if position else -1
        found, more = await members.page_of_members(
            self._programs, caller, request.program, after, page_size(request.page_size)
        )
        return account_pb2.ListMembersResponse(
            members=[_member(request.program, each) for each in found],
            next_page_token=encode_token(query, (found[-1].account,)) if more else "",
        )


def _member(program: str, row: MemberRow) -> account_pb2.Member:
    return account_pb2.Member(
        program=program,
        member=row.member,
        state=resources_pb2.Account.State.ValueType(row.state),
        enrol_time=timestamp_of(row.enrol_time),
    )

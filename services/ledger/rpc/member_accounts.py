"""The method of `LedgerService` that answers what a member has in all programs."""

from chassis.paging import decode_token, encode_token, page_size
from loyalty.ledger.v1 import ledger_pb2
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.member_accounts import page_of_member_accounts
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.translate import read_message


class MemberAccountsServicer:
    """A member's accounts in all programs."""

    _ledger: LedgerContext

    async def ListMemberAccounts(
        self, request: ledger_pb2.ListMemberAccountsRequest, context: Context
    ) -> ledger_pb2.ListMemberAccountsResponse:
        """List what a member has, by program."""
        organization = current_caller().organization
        query: dict[str, object] = {
            "list": "member accounts",
            "organization": organization,
            "member": request.member,
        }
        position = decode_token(request.page_token, query, (str,))
        page = await page_of_member_accounts(
            self._ledger,
            organization,
            request.member,
            str(position[0]) if position else "",
            page_size(request.page_size),
        )
        return ledger_pb2.ListMemberAccountsResponse(
            accounts=[
                read_message(read, program, request.member) for program, read in page.accounts
            ],
            next_page_token=encode_token(query, (page.last,)) if page.more else "",
        )

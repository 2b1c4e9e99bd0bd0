"""`LedgerService`: moves points and answers what a member has, and why."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date

from chassis.call import log_fields
from chassis.identity import SERVICE_SCOPE, current_identity
from chassis.paging import decode_token, encode_token, page_size
from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceServicer
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.post import Written, batch_post, post
from services.ledger.operations.read_account import AccountRead, read_accounts
from services.ledger.operations.read_as_of import AsOf, read_accounts_as_of
from services.ledger.operations.read_history import (
    FIRST_PAGE,
    get_posting,
    page_of_entries,
    page_of_expirations,
    page_of_lots,
)
from services.ledger.operations.sight import Member
from services.ledger.operations.verify_account import verify_account
from services.ledger.operations.watch_changes import watch_changes
from services.ledger.rpc import changes, posts, translate
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller, found, reader
from services.ledger.rpc.holds import HoldServicer
from services.ledger.rpc.member_accounts import MemberAccountsServicer
from services.ledger.rpc.named import entry_query, given
from services.ledger.rpc.quotes import QuoteServicer
from services.ledger.rpc.reversals import ReversalServicer
from services.ledger.rpc.statements import StatementServicer
from services.ledger.rpc.transfers import TransferServicer


class LedgerServicer(
    HoldServicer,
    ReversalServicer,
    QuoteServicer,
    TransferServicer,
    StatementServicer,
    MemberAccountsServicer,
    LedgerServiceServicer,
):
    """Translates, and decides nothing."""

    def __init__(self, context: LedgerContext) -> None:
        self._ledger = context

    async def Earn(
        self, request: ledger_pb2.EarnRequest, context: Context
    ) -> ledger_pb2.EarnResponse:
        """Give points."""
        written = await self._one(posts.earn_post(request), request.validate_only)
        return answer(ledger_pb2.EarnResponse(), written, request.program, request.member)

    async def Redeem(
        self, request: ledger_pb2.RedeemRequest, context: Context
    ) -> ledger_pb2.RedeemResponse:
        """Spend points."""
        written = await self._one(posts.redeem_post(request), request.validate_only)
        response = ledger_pb2.RedeemResponse(value=translate.worth(written.posting, written.policy))
        return answer(response, written, request.program, request.member)

    async def Adjust(
        self, request: ledger_pb2.AdjustRequest, context: Context
    ) -> ledger_pb2.AdjustResponse:
        """Credit or debit points."""
        written = await self._one(posts.adjust_post(request), request.validate_only)
        return answer(ledger_pb2.AdjustResponse(), written, request.program, request.member)

    async def Count(
        self, request: ledger_pb2.CountRequest, context: Context
    ) -> ledger_pb2.CountResponse:
        """Add to a counter."""
        written = await self._one(posts.count_post(request), request.validate_only)
        return answer(ledger_pb2.CountResponse(), written, request.program, request.member)

    async def Post(
        self, request: ledger_pb2.PostRequest, context: Context
    ) -> ledger_pb2.PostResponse:
        """Do several operations of one member."""
        if not request.program:
            raise InvalidField(FieldViolation("program", "is required"))
        written = await self._one(request, request.validate_only, indexed=True)
        return answer(ledger_pb2.PostResponse(), written, request.program, request.member)

    async def BatchPost(
        self, request: ledger_pb2.BatchPostRequest, context: Context
    ) -> ledger_pb2.BatchPostResponse:
        """Do posts of many members, each with its own result."""
        caller = current_caller()
        if sum(len(each.operations) for each in request.requests) > posts.OPERATIONS_MAX:
            raise InvalidField(
                FieldViolation("requests", f"hold more than {posts.OPERATIONS_MAX} operations")
            )
        for place, each in enumerate(request.requests):
            if each.program not in ("", request.program):
                raise InvalidField(
                    FieldViolation(f"requests[{place}].program", "is not the batch's program")
                )
            if each.validate_only:
                raise InvalidField(
                    FieldViolation(f"requests[{place}].validate_only", "belongs to the batch")
                )
        commands = [
            posts.command(each, caller, request.program, indexed=True) for each in request.requests
        ]
        results = await batch_post(
            self._ledger, commands, validate_only=request.validate_only, deadline=deadline()
        )
        response = ledger_pb2.BatchPostResponse()
        for result in results:
            translate.fill_result(response.results.add(), result, request.program)
        return response

    async def GetAccount(
        self, request: ledger_pb2.GetAccountRequest, context: Context
    ) -> resources_pb2.Account:
        """Answer what a member has, or had."""
        reads = await self._reads(request, [request.member])
        return translate.read_message(found(reads, request.member), request.program, request.member)

    async def BatchGetAccounts(
        self, request: ledger_pb2.BatchGetAccountsRequest, context: Context
    ) -> ledger_pb2.BatchGetAccountsResponse:
        """Answer what many members have, or had."""
        members = list(dict.fromkeys(request.members))
        reads = await self._reads(request, members)
        return ledger_pb2.BatchGetAccountsResponse(
            accounts=[
                translate.read_message(reads[member], request.program, member)
                for member in members
                if member in reads
            ],
            missing=[member for member in members if member not in reads],
        )

    async def _reads(
        self,
        request: ledger_pb2.GetAccountRequest | ledger_pb2.BatchGetAccountsRequest,
        members: Sequence[str],
    ) -> Mapping[str, AccountRead]:
        windows = [posts.window(each) for each in request.windows]
        organization = current_caller().organization
        if not request.HasField("as_of"):
            return await read_accounts(
                self._ledger, organization, request.program, members, windows, own=request.own
            )
        instant = AsOf(given(request.as_of, "effective_time"), given(request.as_of, "record_time"))
        return await read_accounts_as_of(
            self._ledger, organization, request.program, members, instant, windows, own=request.own
        )

    async def GetPosting(
        self, request: ledger_pb2.GetPostingRequest, context: Context
    ) -> resources_pb2.Posting:
        """Answer one posting."""
        written = await get_posting(
            self._ledger, current_caller().organization, request.program, request.posting
        )
        return translate.posting_message(written.posting, request.program, written.policy)

    async def ListEntries(
        self, request: ledger_pb2.ListEntriesRequest, context: Context
    ) -> ledger_pb2.ListEntriesResponse:
        """List a member's entries."""
        member, query = _listing("entries", request)
        which = entry_query(request, newest_first=True)
        query["query"] = str(which)
        position = decode_token(request.page_token, query, (int,))
        page = await page_of_entries(
            self._ledger,
            member,
            which,
            int(position[0]) if position else FIRST_PAGE,
            page_size(request.page_size),
        )
        response = ledger_pb2.ListEntriesResponse()
        for stored in page.entries:
            entry = translate.entry_message(stored.entry, stored.posting, page.policy)
            if member.itself:
                entry.actor = ""
            if page.confined:
                # Whose lots paid for it, and how large they are, is others'.
                del entry.draws[:]
            response.entries.append(entry)
        if page.more:
            response.next_page_token = encode_token(query, (page.entries[-1].entry.sequence,))
        return response

    async def ListLots(
        self, request: ledger_pb2.ListLotsRequest, context: Context
    ) -> ledger_pb2.ListLotsResponse:
        """List a member's lots."""
        member, query = _listing("lots", request)
        query["include_closed"] = request.include_closed
        position = decode_token(request.page_token, query, (int,))
        page = await page_of_lots(
            self._ledger,
            member,
            request.currency,
            request.include_closed,
            int(position[0]) if position else FIRST_PAGE,
            page_size(request.page_size),
        )
        token = encode_token(query, (page.lots[-1].lot.sequence,)) if page.more else ""
        return ledger_pb2.ListLotsResponse(
            lots=[
                translate.lot_message(
                    stored, page.key[0], page.policy, page.expires.get(stored.lot.sequence)
                )
                for stored in page.lots
            ],
            next_page_token=token,
        )

    async def ListExpirations(
        self, request: ledger_pb2.ListExpirationsRequest, context: Context
    ) -> ledger_pb2.ListExpirationsResponse:
        """List what will expire."""
        member, query = _listing("expirations", request)
        position = decode_token(request.page_token, query, (int, int))
        after = None
        if position:
            after = (date.fromordinal(max(1, min(int(position[0]), 3_600_000))), int(position[1]))
        page = await page_of_expirations(
            self._ledger, member, request.currency, after, page_size(request.page_size)
        )
        token = ""
        if page.more:
            last = page.expirations[-1]
            token = encode_token(query, (last.date.toordinal(), last.currency))
        return ledger_pb2.ListExpirationsResponse(
            expirations=[
                translate.expiration_message(each, page.policy) for each in page.expirations
            ],
            next_page_token=token,
        )

    async def VerifyAccount(
        self, request: ledger_pb2.VerifyAccountRequest, context: Context
    ) -> ledger_pb2.VerifyAccountResponse:
        """Recompute an account from its entries."""
        verified = await verify_account(
            self._ledger, current_caller().organization, request.program, request.member
        )
        return ledger_pb2.VerifyAccountResponse(
            ok=not verified.findings,
            findings=[
                ledger_pb2.Finding(
                    row=each.row, field=each.field, expected=each.expected, stored=each.stored
                )
                for each in verified.findings
            ],
            entries=verified.entries,
        )

    async def WatchChanges(
        self, request: ledger_pb2.WatchChangesRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.WatchChangesResponse]:
        """Stream the changes of the caller's organization, or to a service those of all."""
        caller = current_identity()
        organization = None if SERVICE_SCOPE in caller.scopes else caller.organization
        wanted = changes.wanted(organization, request)
        async for page in watch_changes(self._ledger, wanted, dict(request.cursors)):
            yield changes.page_message(page)

    async def _one(
        self, request: ledger_pb2.PostRequest, validate_only: bool, *, indexed: bool = False
    ) -> Written:
        command = posts.command(request, current_caller(), request.program, indexed=indexed)
        written = await post(
            self._ledger, command, validate_only=validate_only, deadline=deadline()
        )
        log_fields(request_id=request.request_id, posting_id=str(written.posting.id() or ""))
        return written


_Listing = (
    ledger_pb2.ListEntriesRequest | ledger_pb2.ListLotsRequest | ledger_pb2.ListExpirationsRequest
)


def _listing(name: str, request: _Listing) -> tuple[Member, dict[str, object]]:
    member = reader(request.program, request.member, own=request.own)
    query: dict[str, object] = {
        "list": name,
        "organization": member.organization,
        "program": request.program,
        "member": request.member,
        "own": request.own,
        "currency": request.currency,
    }
    return member, query

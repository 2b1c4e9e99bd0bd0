"""The method of `LedgerService` that answers statements."""

from google.type.date_pb2 import Date

from chassis.paging import decode_token, encode_token, page_size
from kernel import calendar
from loyalty.common.v1.money_pb2 import Money
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.ledger.domain.account import Entry, Kind, Posting
from services.ledger.domain.policy import Policy
from services.ledger.domain.spending import redemption_value
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.read_history import Member
from services.ledger.operations.read_statement import StatementQuery, page_of_statement
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.describe import description
from services.ledger.rpc.named import given
from services.ledger.rpc.translate import stamp
from services.ledger.store.statements import Four

SPENT = frozenset({Kind.REDEEMED, Kind.CAPTURED})


class StatementServicer:
    """Statements: what changed between two instants."""

    _ledger: LedgerContext

    async def GetStatement(
        self, request: ledger_pb2.GetStatementRequest, context: Context
    ) -> ledger_pb2.GetStatementResponse:
        """Answer a member's statement."""
        organization = current_caller().organization
        query = StatementQuery(
            request.currency,
            given(request, "start_time"),
            given(request, "end_time"),
            request.attributed_member,
        )
        asked: dict[str, object] = {
            "list": "statement",
            "organization": organization,
            "program": request.program,
            "member": request.member,
            "query": str(query),
        }
        position = decode_token(request.page_token, asked, (int,))
        page = await page_of_statement(
            self._ledger,
            Member(organization, request.program, request.member),
            query,
            int(position[0]) if position else 0,
            page_size(request.page_size),
        )
        response = ledger_pb2.GetStatementResponse()
        for stored in page.entries:
            entry, posting = stored.entry, stored.posting
            fill_line(response.lines.add(), entry, posting, page.policies[posting.revision])
        if page.more:
            response.next_page_token = encode_token(asked, (page.entries[-1].entry.sequence,))
        for number, (opening, closing) in page.balances.items():
            response.balances.add(
                currency=page.policy.currencies[number].id,
                opening=_amounts(opening),
                closing=_amounts(closing),
            )
        return response


def fill_line(
    line: ledger_pb2.StatementLine, entry: Entry, posting: Posting, policy: Policy
) -> None:
    """Say an entry as a line; `policy` is the configuration that its posting was decided under."""
    day = calendar.local_day(entry.effective_time, policy.zone)
    counter = "" if entry.counter is None else policy.counter_name(entry.counter)
    line.sequence = entry.sequence
    line.posting = str(posting.id() or "")
    line.record_time.CopyFrom(stamp(entry.record_time))
    line.effective_time.CopyFrom(stamp(entry.effective_time))
    line.date.CopyFrom(Date(year=day.year, month=day.month, day=day.day))
    line.kind = resources_pb2.Entry.Kind.ValueType(entry.kind)
    line.description = description(entry, posting, counter)
    line.points = entry.points
    line.reference = posting.reference
    if posting.addressee is not None:
        line.attributed_member = posting.member
    if entry.currency is None:
        return
    available, pending, held, debt = entry.after
    currency = policy.currencies[entry.currency]
    line.currency = currency.id
    line.balance = available + pending + held - debt
    line.available = available - debt
    if entry.kind in SPENT:
        line.finance_account = policy.config.redemption_account
        line.cost_center = policy.config.redemption_cost_center
        value = redemption_value(-entry.points, currency, policy)
        if value is not None:
            line.value.CopyFrom(Money(amount=f"{value:f}", currency=policy.config.currency_code))


def _amounts(four: Four) -> resources_pb2.Amounts:
    available, pending, held, debt = four
    return resources_pb2.Amounts(available=available, pending=pending, held=held, debt=debt)

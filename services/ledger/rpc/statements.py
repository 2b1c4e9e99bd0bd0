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
from services.ledger.operations.read_statement import Place, page_of_statement
from services.ledger.rpc.calls import Context, current_caller, reader
from services.ledger.rpc.describe import description
from services.ledger.rpc.named import entry_query
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
        query = entry_query(request, newest_first=request.newest_first)
        member = reader(request.program, request.member, own=request.own)
        asked: dict[str, object] = {
            "list": "statement",
            "organization": organization,
            "program": request.program,
            "member": request.member,
            "own": request.own,
            "query": str(query),
        }
        position = decode_token(request.page_token, asked, (int, int))
        page = await page_of_statement(
            self._ledger,
            member,
            query,
            Place(int(position[0]), int(position[1])) if position else None,
            page_size(request.page_size),
        )
        response = ledger_pb2.GetStatementResponse()
        for each in page.lines:
            line, posting = response.lines.add(), each.stored.posting
            fill_line(line, each.stored.entry, posting, page.policies[posting.revision])
            line.unlisted_points = each.unlisted
            if member.itself:
                # How the business books it is not the member's.
                line.finance_account = line.cost_center = ""
        if page.place is not None:
            place = (page.place.beyond, page.place.last)
            response.next_page_token = encode_token(asked, place)
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

"""`ReportService`: what finance asks of a whole program."""

from datetime import date
from decimal import Decimal

from google.type.date_pb2 import Date

from chassis.call import remaining_seconds
from chassis.paging import decode_token, encode_token, page_size
from kernel import ids
from loyalty.common.v1.money_pb2 import Money
from loyalty.ledger.v1 import report_pb2, resources_pb2
from loyalty.ledger.v1.report_pb2_grpc import ReportServiceServicer
from services.ledger.domain.account import Balance
from services.ledger.domain.liability import Breakage
from services.ledger.domain.policy import Policy
from services.ledger.domain.spending import redemption_value
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.reports import (
    CurrencyLiability,
    Difference,
    RedemptionQuery,
    page_of_redemptions,
    read_liability,
    reconcile,
)
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.named import stretch_of_time
from services.ledger.rpc.translate import stamp
from services.ledger.store.reports import Books, RedemptionRow


class ReportServicer(ReportServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: LedgerContext) -> None:
        self._ledger = context

    async def GetLiability(
        self, request: report_pb2.GetLiabilityRequest, context: Context
    ) -> report_pb2.GetLiabilityResponse:
        """Answer what is owed."""
        found = await read_liability(
            self._ledger,
            current_caller().organization,
            request.program,
            request.currency,
            estimated=not request.without_breakage,
            seconds=remaining_seconds(),
        )
        return report_pb2.GetLiabilityResponse(
            read_time=stamp(found.read_time),
            revision=found.policy.revision,
            currencies=[_liability(each, found.policy) for each in found.currencies],
        )

    async def ListRedemptions(
        self, request: report_pb2.ListRedemptionsRequest, context: Context
    ) -> report_pb2.ListRedemptionsResponse:
        """List what was redeemed and what came back."""
        organization = current_caller().organization
        query = RedemptionQuery(request.currency, *stretch_of_time(request))
        asked: dict[str, object] = {
            "list": "redemptions",
            "organization": organization,
            "program": request.program,
            "query": str(query),
        }
        position = decode_token(request.page_token, asked, (int, int, int))
        after = (-1, -1, 0)
        if position:
            after = (int(position[0]), int(position[1]), int(position[2]))
        page = await page_of_redemptions(
            self._ledger,
            organization,
            request.program,
            query,
            after,
            page_size(request.page_size),
        )
        return report_pb2.ListRedemptionsResponse(
            redemptions=[_redemption(row, page.policies[row.revision]) for row in page.rows],
            next_page_token="" if page.position is None else encode_token(asked, page.position),
        )

    async def ReconcileProgram(
        self, request: report_pb2.ReconcileProgramRequest, context: Context
    ) -> report_pb2.ReconcileProgramResponse:
        """Add everything up, each by itself."""
        found = await reconcile(
            self._ledger, current_caller().organization, request.program, remaining_seconds()
        )
        return report_pb2.ReconcileProgramResponse(
            ok=not found.differences,
            read_time=stamp(found.read_time),
            currencies=[_control_totals(each, found.policy) for each in found.currencies],
            differences=[_difference(each, found.policy) for each in found.differences],
            accounts=found.accounts,
            postings=found.postings,
            entries=found.entries,
        )


def _liability(found: CurrencyLiability, policy: Policy) -> report_pb2.Liability:
    number = found.currency
    points = resources_pb2.Amounts(
        available=sum(row.available for row in found.parts),
        pending=sum(row.pending for row in found.parts),
        held=sum(row.held for row in found.parts),
        debt=found.debt,
    )
    message = report_pb2.Liability(
        currency=policy.currencies[number].id,
        points=points,
        value=_money(points.available + points.pending + points.held, number, policy),
        accounts=found.accounts,
    )
    for row in found.parts:
        message.parts.add(
            earned=_month(row.earned),
            expires=_month(row.expires),
            available=row.available,
            pending=row.pending,
            held=row.held,
            value=_money(row.available + row.pending + row.held, number, policy),
            lots=row.lots,
        )
    if found.breakage is not None:
        message.breakage.CopyFrom(_breakage(found.breakage, number, policy))
    return message


def _breakage(found: Breakage, number: int, policy: Policy) -> report_pb2.Breakage:
    return report_pb2.Breakage(
        rate="" if found.rate is None else f"{found.rate:f}",
        earned_points=found.earned,
        expired_points=found.expired,
        months=found.months,
        first_month=_month(found.first),
        last_month=_month(found.last),
        outstanding_points=found.outstanding,
        estimated_points=found.estimated,
        estimated_value=_money(found.estimated, number, policy),
    )


def _redemption(row: RedemptionRow, policy: Policy) -> report_pb2.Redemption:
    posting = ids.uuid7(row.record_time, row.bucket, row.posting)
    return report_pb2.Redemption(
        member=row.member or "",
        posting=str(posting),
        sequence=row.sequence,
        kind=resources_pb2.Entry.Kind.ValueType(row.kind),
        record_time=stamp(row.record_time),
        effective_time=stamp(row.effective_time),
        currency=policy.currencies[row.currency].id,
        points=-row.points,
        value=_money(-row.points, row.currency, policy),
        finance_account=policy.config.redemption_account,
        cost_center=policy.config.redemption_cost_center,
        reference=row.reference,
        related=row.related or 0 if row.points > 0 else 0,
    )


def _control_totals(books: Books, policy: Policy) -> report_pb2.ControlTotals:
    available, pending, held = books.lot
    return report_pb2.ControlTotals(
        currency=policy.currencies[books.currency].id,
        balances=_amounts(books.balance),
        lots=resources_pb2.Amounts(available=available, pending=pending, held=held),
        entries=_amounts(books.entry),
        totals=_totals(books.balance),
        entry_totals=_totals(books.entry),
        differing_accounts=books.count,
    )


def _difference(found: Difference, policy: Policy) -> report_pb2.Difference:
    row = found.row
    if found.currency is not None:
        row = f"{row} {policy.currencies[found.currency].id}"
    return report_pb2.Difference(
        member=found.member,
        row=row,
        field=found.field,
        expected=str(found.expected),
        stored=str(found.stored),
    )


def _amounts(balance: Balance) -> resources_pb2.Amounts:
    return resources_pb2.Amounts(
        available=balance.available,
        pending=balance.pending,
        held=balance.held,
        debt=balance.debt,
    )


def _totals(balance: Balance) -> resources_pb2.Totals:
    names = [field.name for field in resources_pb2.Totals.DESCRIPTOR.fields]
    return resources_pb2.Totals(**{name: getattr(balance, name) for name in names})


def _month(month: date | None) -> Date | None:
    return None if month is None else Date(year=month.year, month=month.month)


def _money(points: int, currency: int, policy: Policy) -> Money | None:
    value: Decimal | None = redemption_value(points, policy.currencies[currency], policy)
    if value is None:
        return None
    return Money(amount=f"{value:f}", currency=policy.config.currency_code)

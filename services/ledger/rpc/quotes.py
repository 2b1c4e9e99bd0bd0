"""The method of `LedgerService` that answers what a redemption would be."""

from chassis.refusals import status_of
from loyalty.ledger.v1 import ledger_pb2
from services.ledger.domain.commands import Command
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.quote import quote_redemption
from services.ledger.rpc.calls import Context, by_itself, current_caller


class QuoteServicer:
    """What a redemption would be."""

    _ledger: LedgerContext

    async def QuoteRedemption(
        self, request: ledger_pb2.QuoteRedemptionRequest, context: Context
    ) -> ledger_pb2.QuoteRedemptionResponse:
        """Answer what a redemption would take and be worth."""
        caller = current_caller()
        command = Command(
            organization=caller.organization,
            program=request.program,
            member=request.member,
            request_id="",
            digest=b"",
            operations=(),
            actor=caller.actor,
        )
        quote = await quote_redemption(
            self._ledger, command, request.points, request.currency, itself=by_itself()
        )
        response = ledger_pb2.QuoteRedemptionResponse(
            redeemable=quote.posting is not None,
            points=quote.points,
            available=quote.available,
            redeemable_points=quote.redeemable_points,
        )
        if quote.value is not None:
            response.value.amount = f"{quote.value:f}"
            response.value.currency = quote.policy.config.currency_code
        if quote.refusal is not None:
            response.refusal.CopyFrom(status_of(quote.refusal))
        if quote.posting is not None and not quote.confined:
            for sequence, points in quote.posting.entries[-1].draws:
                response.draws.add(lot=str(quote.posting.lots[sequence]), points=points)
        return response

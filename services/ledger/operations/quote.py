"""What a redemption would take and be worth, answered without doing it."""

from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.refusals import Refusal
from services.ledger.domain.account import Posting
from services.ledger.domain.commands import Command, Redeem
from services.ledger.domain.policy import Policy
from services.ledger.domain.spending import most_spendable, redemption_value
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.post import Written, post
from services.ledger.operations.sight import Member, read_for, sight_of

# No request is recorded under it, so that nothing is ever answered from memory.
NO_REQUEST_ID = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """What would be redeemed, or why nothing. `posting` is the one that there would be.

    `confined` where who asks may not see whose points they are.
    """

    points: int
    value: Decimal | None
    policy: Policy
    available: int
    redeemable_points: int
    posting: Posting | None
    refusal: Refusal | None
    confined: bool


async def quote_redemption(
    context: LedgerContext, command: Command, points: int, currency: str, *, itself: bool
) -> Quote:
    """What redeeming points would come to; 0 points are as many as can be redeemed.

    `command` says who asks, and for whom; `itself` where that one is the same.
    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, CURRENCY_NOT_FOUND.
    """
    reader = Member(command.organization, command.program, command.member, itself)
    read = await read_for(context, reader)
    policy = read.policy
    chosen = policy.currency(currency)
    balance = read.view.balances.get(chosen.number)
    most = 0 if balance is None else most_spendable(balance, policy.config)
    if most and isinstance(await _tried(context, command, Redeem(most, currency)), Refusal):
        most = 0
    # Where nothing can be redeemed, the least that could be asked for says why.
    wanted = points or most
    tried = await _tried(context, command, Redeem(wanted or policy.config.step, currency))
    return Quote(
        points=wanted,
        value=redemption_value(wanted, chosen, policy),
        policy=policy,
        available=0 if balance is None else balance.available,
        redeemable_points=most,
        posting=None if isinstance(tried, Refusal) else tried.posting,
        refusal=tried if isinstance(tried, Refusal) else None,
        confined=(await sight_of(context, reader, read.view)).confined,
    )


async def _tried(context: LedgerContext, command: Command, redeem: Redeem) -> Written | Refusal:
    asked = replace(command, request_id=NO_REQUEST_ID, operations=(redeem,))
    try:
        return await post(context, asked, validate_only=True, deadline=None)
    except Refusal as refusal:
        return refusal

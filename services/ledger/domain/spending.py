"""Spending available points: what a redemption is refused for, and the entry of a debit."""

from decimal import Decimal

from kernel.money import rounded_down
from services.ledger.domain.account import Balance, Kind
from services.ledger.domain.commands import Redeem
from services.ledger.domain.config import ProgramConfig
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.policy import CurrencyPolicy, Policy
from services.ledger.domain.refusals import (
    BelowMinimumBalance,
    InDebt,
    InsufficientPoints,
    NotAMultipleOfStep,
    ProgramInactive,
)


def redemption_value(points: int, currency: CurrencyPolicy, policy: Policy) -> Decimal | None:
    """What redeemed points are worth: points × conversion rate, rounded down; None without one."""
    if policy.conversion_rate is None:
        return None
    exact = Decimal(points).scaleb(-currency.scale) * policy.conversion_rate
    return rounded_down(exact, policy.config.currency_code)


def redeem(fold: Fold, operation: Redeem) -> None:
    """Spend points, first to expire first."""
    posting = fold.posting
    assert posting is not None
    currency = spendable_currency(fold, operation.currency)
    balance, config = fold.account.balance(currency.number), fold.policy.config
    points = operation.points
    check_spendable(balance, config, points)
    if balance.available < points:
        points = balance.available - balance.available % config.step
        if not operation.allow_partial or not points:
            raise InsufficientPoints(balance.available, operation.points)
    fold.active(posting.effective_time)
    debit(fold, currency, points, Kind.REDEEMED, operation.points)


def spendable_currency(fold: Fold, name: str) -> CurrencyPolicy:
    """The currency to spend of, while points are spent at all.

    Refusals: PROGRAM_INACTIVE, CURRENCY_NOT_FOUND.
    """
    assert fold.posting is not None
    until = fold.policy.config.until
    if until is not None and fold.posting.effective_time >= until:
        raise ProgramInactive(until=until)
    return fold.policy.currency(name)


def check_spendable(balance: Balance, config: ProgramConfig, points: int) -> None:
    """What spending is refused for before it is looked whether the points are there.

    Refusals: IN_DEBT, BELOW_MINIMUM_BALANCE, NOT_A_MULTIPLE_OF_STEP.
    """
    if balance.debt:
        raise InDebt(balance.debt)
    if balance.available < config.minimum_balance:
        raise BelowMinimumBalance(balance.available, config.minimum_balance)
    if points % config.step:
        raise NotAMultipleOfStep(config.step)


def most_spendable(balance: Balance, config: ProgramConfig) -> int:
    """The most that the rules of spending let through: a multiple of the step, or 0."""
    if balance.debt or balance.available < config.minimum_balance:
        return 0
    return balance.available - balance.available % config.step


def debit(
    fold: Fold,
    currency: CurrencyPolicy,
    points: int,
    kind: Kind,
    requested: int,
    reason: str | None = None,
) -> None:
    """Enter a debit of available points, drawn first to expire first."""
    posting = fold.posting
    assert posting is not None
    balance = fold.balance(currency.number)
    before = four(balance)
    draws = fold.draw(currency.number, points)
    balance.available -= points
    if kind is Kind.REDEEMED:
        balance.redeemed += points
    else:
        balance.adjusted_out += points
    entry = fold.entry(kind, balance, currency.number, before, requested)
    entry.draws, entry.reason = draws, reason
    for sequence, _ in draws:
        posting.lots[sequence] = fold.account.lots[sequence].id
    fold.seal(entry)

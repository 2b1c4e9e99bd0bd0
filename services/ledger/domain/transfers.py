"""Giving points to another member: limits, the lots that may be given, both sides."""

from kernel import calendar
from kernel.refusals import FieldViolation, InvalidField, LimitReached
from services.ledger.domain import expiry
from services.ledger.domain.account import AccountKey, Balance, Kind, Lot, Posting
from services.ledger.domain.commands import Command, TransferPoints
from services.ledger.domain.config import ProgramConfig
from services.ledger.domain.counters import TRANSFERRED, TRANSFERS
from services.ledger.domain.decide import opened
from services.ledger.domain.fold import Fold
from services.ledger.domain.moves import (
    Draws,
    all_or_nothing,
    applied,
    give_away,
    receive,
    share_now,
    side_posting,
)
from services.ledger.domain.permissions import Addressed
from services.ledger.domain.policy import CurrencyPolicy
from services.ledger.domain.refusals import InDebt, InsufficientPoints, SettingOff


def transfer(
    sender: tuple[Fold, Addressed | None],
    recipient: tuple[Fold, Addressed | None],
    command: Command,
    operation: TransferPoints,
) -> list[tuple[Fold, Posting]]:
    """Give points of one settled account to another; each with whom of its members it is about.

    Refusals, in this order: INVALID_FIELD, those of any command, SETTING_OFF, CURRENCY_NOT_FOUND,
    IN_DEBT, LIMIT_REACHED, INSUFFICIENT_POINTS, LIMIT_REACHED of the recipient, POINTS_OVERFLOW.
    """
    (giver, gives), (taker, takes) = sender, recipient
    if giver is taker:
        raise InvalidField(FieldViolation("recipient", "has the same account"))
    share_now((giver, taker))
    posting = opened(giver, command, gives, [(taker.account, takes)])
    received = side_posting(taker, posting, takes)
    posting.peer = received
    with all_or_nothing((giver, taker)):
        currency, draws = _choose(giver, taker, operation)
        instant = posting.effective_time
        giver.count(TRANSFERS, instant, 1)
        giver.count(TRANSFERRED - currency.number, instant, operation.points)
        reason, number = operation.reason or None, currency.number
        to, by = _own(taker, takes), _own(giver, gives)
        posting.names[to], received.names[by] = received.member, posting.member
        give_away(giver, Kind.TRANSFERRED_OUT, number, draws, to, reason)
        receive(taker, Kind.TRANSFERRED_IN, giver, draws, by, reason)
    return applied([(giver, posting), (taker, received)])


def _own(fold: Fold, addressed: Addressed | None) -> AccountKey:
    """The account that says who it was: the member's own, though another one has the points."""
    return fold.account.key if addressed is None else addressed.key


def _choose(giver: Fold, taker: Fold, operation: TransferPoints) -> tuple[CurrencyPolicy, Draws]:
    """The currency and the lots to give of, or a refusal."""
    config = giver.policy.config
    if not config.transfer_enabled:
        raise SettingOff("transfer.enabled")
    currency = giver.policy.currency(operation.currency)
    balance = giver.account.balance(currency.number)
    if balance.debt:
        raise InDebt(balance.debt)
    _check_limits(giver, config, currency, operation.points)
    lots = _giveable(giver, currency.number, config.transfer_minimum_age_days)
    draws, missing = [], operation.points
    for lot in lots:
        part = min(lot.free, missing)
        if part:
            draws.append((lot.sequence, part))
            missing -= part
    if missing:
        raise InsufficientPoints(sum(lot.free for lot in lots), operation.points)
    _check_room(taker.account.balance(currency.number), currency, operation.points)
    return currency, draws


def _check_limits(fold: Fold, config: ProgramConfig, currency: CurrencyPolicy, points: int) -> None:
    assert fold.posting is not None
    day = calendar.local_day(fold.posting.effective_time, fold.policy.zone)
    month = calendar.month_index(day)
    times = sum(fold.account.month(TRANSFERS, month))
    given = sum(fold.account.month(TRANSFERRED - currency.number, month))
    most, count, total = (
        config.transfer_maximum,
        config.transfer_monthly_count,
        config.transfer_monthly_points,
    )
    if points < config.transfer_minimum:
        raise LimitReached("transfer.minimum", config.transfer_minimum, points)
    if most is not None and points > most:
        raise LimitReached("transfer.maximum", most, points)
    if count is not None and times + 1 > count:
        raise LimitReached("transfer.monthly_count", count, times)
    if total is not None and given + points > total:
        raise LimitReached("transfer.monthly_points", total, given)


def _giveable(fold: Fold, currency: int, age_days: int) -> list[Lot]:
    """Spendable lots that are old enough, in spending order."""
    account, zone = fold.account, fold.policy.zone
    lots = [
        lot
        for lot in account.lots.values()
        if lot.currency == currency and lot.free and not lot.pending
        if not age_days or calendar.days_after(lot.earn_time, age_days, zone) <= fold.now
    ]
    last = account.last_activity_time
    return sorted(lots, key=lambda lot: expiry.spending_order(lot, last, zone))


def _check_room(balance: Balance, currency: CurrencyPolicy, points: int) -> None:
    maximum = currency.maximum_balance
    if maximum is not None and balance.net() + points > maximum:
        raise LimitReached("points.maximum_balance", maximum, balance.net())

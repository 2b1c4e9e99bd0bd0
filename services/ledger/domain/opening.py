"""What a member brings from another system, and what is written off when a person is erased."""

from datetime import datetime

from kernel.refusals import EffectiveTimeInFuture, LimitReached, Refusal
from services.ledger.domain import expiry
from services.ledger.domain.account import Kind, Lot
from services.ledger.domain.commands import Import, Opening, WriteOff
from services.ledger.domain.config import POINTS_MAX, ExpiryKind
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.policy import CurrencyPolicy
from services.ledger.domain.refusals import HoldOpen, InsufficientPoints, PointsOverflow
from services.ledger.domain.settle import come_in

REASON = "opening balance"


def import_member(fold: Fold, operation: Import) -> None:
    """Credit what a member brings; a refusal names the opening balance."""
    for index, opening in enumerate(operation.balances):
        try:
            _open(fold, opening)
        except Refusal as refusal:
            refusal.metadata["operation"] = str(index)
            raise


def write_off(fold: Fold, operation: WriteOff) -> None:
    """Debit everything that is available and pending, by currency.

    Refusals: HOLD_OPEN, INSUFFICIENT_POINTS where nothing is left.
    """
    held = sum(1 for balance in fold.account.balances.values() if balance.held)
    if held:
        raise HoldOpen(held)
    if not any(each.available or each.pending for each in fold.account.balances.values()):
        raise InsufficientPoints(0, 1)
    for number in sorted(fold.account.balances):
        balance = fold.account.balance(number)
        if balance.available:
            points = balance.available
            _take_off(fold, number, fold.draw(number, points), operation.reason, pending=False)
        if balance.pending:
            _take_off(fold, number, _take_pending(fold, number), operation.reason, pending=True)


def _open(fold: Fold, opening: Opening) -> None:
    awarded = opening.awarded_time or fold.now
    if awarded > fold.now:
        raise EffectiveTimeInFuture(fold.now)
    currency = fold.policy.currency(opening.currency)
    strategy = fold.policy.expiry(opening.expiry, currency)
    balance = fold.account.balance(currency.number)
    points, maximum = opening.points, currency.maximum_balance
    if maximum is not None and balance.net() + points > maximum:
        raise LimitReached("points.maximum_balance", maximum, balance.net())
    if balance.net() + points > POINTS_MAX or balance.adjusted_in + points > POINTS_MAX:
        raise PointsOverflow
    if opening.expire_time is None:
        instant = expiry.expire_time(strategy, awarded, fold.policy.zone)
        kind = strategy.kind
    else:
        # A set instant: never before the points were awarded.
        instant, kind = max(opening.expire_time, awarded), ExpiryKind.FIXED
    months = strategy.months if kind is ExpiryKind.INACTIVITY else 0
    lot = _credit(fold, currency, points, awarded, instant, kind, months)
    come_in(fold, lot)


def _credit(
    fold: Fold,
    currency: CurrencyPolicy,
    points: int,
    awarded: datetime,
    expire_time: datetime | None,
    kind: ExpiryKind,
    months: int,
) -> Lot:
    posting = fold.posting
    assert posting is not None
    balance = fold.balance(currency.number)
    before = four(balance)
    lot = Lot(
        sequence=fold.account.sequence + 1,
        id=fold.new_id(),
        currency=currency.number,
        points=points,
        free=points,
        held=0,
        pending=False,
        earn_time=awarded,
        mature_time=awarded,
        expire_time=expire_time,
        expiry_kind=kind,
        inactivity_months=months,
        fresh=True,
    )
    fold.put_lot(lot)
    balance.available += points
    balance.adjusted_in += points
    entry = fold.entry(
        Kind.ADJUSTED_IN, balance, currency.number, before, points, effective_time=awarded
    )
    entry.reason = REASON
    entry.lot, entry.mature_time = lot.sequence, awarded
    moves_or_ends = expire_time or kind is ExpiryKind.INACTIVITY
    entry.expire_time = fold.expires(lot) if moves_or_ends else None
    entry.expiry_kind, entry.inactivity_months = kind, months
    posting.lots[lot.sequence] = lot.id
    fold.seal(entry)
    return lot


def _take_pending(fold: Fold, currency: int) -> tuple[tuple[int, int], ...]:
    draws = []
    for lot in sorted(fold.account.lots.values(), key=lambda lot: lot.sequence):
        if lot.currency == currency and lot.pending and lot.free:
            draws.append((lot.sequence, lot.free))
            fold.take(lot, lot.free)
    return tuple(draws)


def _take_off(
    fold: Fold, currency: int, draws: tuple[tuple[int, int], ...], reason: str, *, pending: bool
) -> None:
    """Enter what was drawn from lots."""
    posting = fold.posting
    assert posting is not None
    balance = fold.balance(currency)
    before = four(balance)
    points = sum(drawn for _, drawn in draws)
    if pending:
        balance.pending -= points
    else:
        balance.available -= points
    balance.adjusted_out += points
    entry = fold.entry(Kind.ADJUSTED_OUT, balance, currency, before, points)
    entry.draws, entry.reason = draws, reason
    for sequence, _ in draws:
        posting.lots[sequence] = fold.account.lots[sequence].id
    fold.seal(entry)

"""Lots that expire: one entry an account, currency and instant."""

from collections.abc import Sequence
from datetime import datetime

from services.ledger.domain.account import Kind, Lot
from services.ledger.domain.fold import Fold, four


def expire_lots(fold: Fold, lots: Sequence[Lot], instant: datetime) -> None:
    """Expire what is free of lots, effective at an instant."""
    by_currency: dict[int, list[Lot]] = {}
    for lot in lots:
        if lot.free:
            by_currency.setdefault(lot.currency, []).append(lot)
    for currency in sorted(by_currency):
        balance = fold.balance(currency)
        before = four(balance)
        draws: list[tuple[int, int]] = []
        for lot in sorted(by_currency[currency], key=fold.order):
            points = lot.free
            fold.expire(lot, points)
            balance.available -= points
            balance.expired += points
            draws.append((lot.sequence, points))
            fold.name(lot)
        entry = fold.entry(Kind.EXPIRED, balance, currency, before, effective_time=instant)
        entry.draws = tuple(draws)
        fold.seal(entry)

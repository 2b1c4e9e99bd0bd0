"""Telling ahead what will expire: `points.expiry_notice_days` before, once an instant of expiry.

A lot remembers the instant that was told of it. Where activity moved the expiry, the new instant is
told in its turn.
"""

from collections.abc import Sequence
from datetime import datetime

from kernel import calendar
from services.ledger.domain import expiry
from services.ledger.domain.account import Kind, Lot
from services.ledger.domain.fold import Fold, four


def notice_time(fold: Fold, lot: Lot) -> datetime | None:
    """When the expiry of a lot is told: never before it matured. None where there is nothing to."""
    days = fold.policy.config.expiry_notice_days
    if not days:
        return None
    instant = fold.expires(lot)
    if instant in (expiry.FOREVER, lot.noticed_time) or instant <= lot.mature_time:
        return None
    return max(calendar.days_after(instant, -days, fold.policy.zone), lot.mature_time)


def give(fold: Fold, lots: Sequence[Lot]) -> None:
    """Tell what will expire of lots: one entry a currency and instant of expiry."""
    groups: dict[tuple[int, datetime], list[Lot]] = {}
    for lot in lots:
        instant = fold.expires(lot)
        if lot.free and instant != lot.noticed_time:
            groups.setdefault((lot.currency, instant), []).append(lot)
    for currency, instant in sorted(groups):
        balance = fold.account.balance(currency)
        told = sorted(groups[currency, instant], key=lambda lot: (lot.earn_time, lot.sequence))
        points = sum(lot.free for lot in told)
        entry = fold.entry(Kind.EXPIRY_NOTICED, balance, currency, four(balance), points)
        entry.draws = tuple((lot.sequence, lot.free) for lot in told)
        entry.expire_time = instant
        for lot in told:
            fold.amend(lot, noticed_time=instant)
            fold.name(lot)
        fold.seal(entry)

"""Upcoming expirations: the points at stake if nothing more is spent, by local date."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from kernel import calendar
from services.ledger.domain import expiry
from services.ledger.domain.account import Lot

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Expiration:
    """Points of one currency last spendable on `date`; `expire_time` is the first expiry."""

    date: date
    currency: int
    expire_time: datetime
    points: int


def upcoming(
    lots: Iterable[Lot], last_activity: datetime | None, zone: ZoneInfo
) -> list[Expiration]:
    """Group lots' free points by local date and currency, soonest first."""
    groups: dict[tuple[date, int], tuple[datetime, int]] = {}
    for lot in lots:
        instant = expiry.expires(lot, last_activity, zone)
        if not lot.free or instant == expiry.FOREVER:
            continue
        key = (calendar.local_day(instant - _INSTANT, zone), lot.currency)
        first, points = groups.get(key, (instant, 0))
        groups[key] = (min(first, instant), points + lot.free)
    return [Expiration(day, currency, *groups[day, currency]) for day, currency in sorted(groups)]

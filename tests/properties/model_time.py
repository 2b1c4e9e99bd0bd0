"""Calendar arithmetic for the reference model, with nothing but `zoneinfo` and loops.

It is written for being obviously right, not fast, and shares no code with the suite. Instants are
aware datetimes in UTC; local days are dates in a program's zone.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MICROSECOND = timedelta(microseconds=1)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The date on the wall calendar at `instant`."""
    return instant.astimezone(zone).date()


@lru_cache(maxsize=4096)
def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day; it need not be midnight, which may not exist.

    Walks minute by minute from well before the day: clocks are only ever changed at whole minutes.
    """
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=30)
    while local_day(instant, zone) < day:
        instant += timedelta(minutes=1)
    return instant


def plus_months(day: date, months: int) -> date:
    """The same day `months` later, or the last one of a month that is too short."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def months_after(anchor: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The same time of day `months` later, by the wall clock and calendar."""
    return _at(plus_months(local_day(anchor, zone), months), anchor, zone)


def days_after(anchor: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same time of day `days` later, by the wall clock and calendar."""
    return _at(local_day(anchor, zone) + timedelta(days=days), anchor, zone)


def _at(day: date, anchor: datetime, zone: ZoneInfo) -> datetime:
    """`day` at the anchor's time of day.

    A time that the clocks skip is moved by as much as they skip; of a time that they show twice
    the first is meant. That is what `fold=0` does.
    """
    wall = anchor.astimezone(zone).time().replace(fold=0)
    return datetime.combine(day, wall, tzinfo=zone).astimezone(UTC)


def end_of(period: str, instant: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after the local DAY, MONTH, QUARTER or YEAR that `instant` lies in."""
    day = local_day(instant, zone)
    after = {
        "DAY": day + timedelta(days=1),
        "MONTH": plus_months(day.replace(day=1), 1),
        "QUARTER": plus_months(date(day.year, day.month - (day.month - 1) % 3, 1), 3),
        "YEAR": date(day.year + 1, 1, 1),
    }
    return first_instant(after[period], zone)


def window_days(period: str, length: int, day: date) -> tuple[date, date]:
    """The first and the last local day of the counter window that `day` lies in or ends."""
    if period == "LIFETIME":
        return date.min, date.max
    if period == "DAY":
        return day, day
    if period == "WEEK":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    if period == "MONTH":
        return day.replace(day=1), plus_months(day.replace(day=1), 1) - timedelta(days=1)
    if period == "QUARTER":
        first = date(day.year, day.month - (day.month - 1) % 3, 1)
        return first, plus_months(first, 3) - timedelta(days=1)
    if period == "YEAR":
        return date(day.year, 1, 1), date(day.year, 12, 31)
    if period == "ROLLING_DAYS":
        return day - timedelta(days=length - 1), day
    assert period == "ROLLING_MONTHS", period
    return plus_months(day, -length) + timedelta(days=1), day


def billing_days(day: date, billing_day: int) -> tuple[date, date]:
    """The first and the last local day of the billing period that `day` lies in.

    A period begins on the billing day of each month, or on the last one of a month that is too
    short.
    """

    def begin(month: date) -> date:
        return month.replace(day=min(billing_day, monthrange(month.year, month.month)[1]))

    this = day.replace(day=1)
    first = begin(this) if day >= begin(this) else begin(plus_months(this, -1))
    return first, begin(plus_months(first.replace(day=1), 1)) - timedelta(days=1)

"""Counters: one number per local day, kept a month at a time; a window is a sum over days.

A month is a list of 31 numbers, one a day. Months are counted as 12 × year + month − 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from kernel import calendar
from kernel.calendar import Period

Months = Mapping[int, list[int]]
DAYS = 31
# Counters that no program configures: `points_earned` of currency n is −1 − n, how often points
# were given to other members is TRANSFERS, and how many of currency n TRANSFERRED − n.
TRANSFERS = -101
TRANSFERRED = -201
_FIRST = date(1, 1, 1)
_WINDOW_FLOOR = date(1800, 1, 1)


@dataclass(frozen=True, slots=True)
class Window:
    """The local days of `period` that contain `time` (None: now); `length` if rolling."""

    counter: str
    period: Period
    length: int = 0
    time: datetime | None = None


def _quarter_end(day: date) -> date:
    return calendar.add_months(calendar.quarter_start(day), 3) - timedelta(days=1)


def _month_end(day: date) -> date:
    return calendar.add_months(calendar.month_start(day), 1) - timedelta(days=1)


_BOUNDS: dict[Period, Callable[[date, int], tuple[date, date]]] = {
    Period.LIFETIME: lambda _, __: (_FIRST, calendar.LAST_DAY),
    Period.DAY: lambda day, _: (day, day),
    Period.WEEK: lambda day, _: (
        calendar.week_start(day),
        calendar.week_start(day) + timedelta(days=6),
    ),
    Period.MONTH: lambda day, _: (calendar.month_start(day), _month_end(day)),
    Period.QUARTER: lambda day, _: (calendar.quarter_start(day), _quarter_end(day)),
    Period.YEAR: lambda day, _: (date(day.year, 1, 1), date(day.year, 12, 31)),
    Period.ROLLING_DAYS: lambda day, length: (day - timedelta(days=length - 1), day),
    Period.ROLLING_MONTHS: lambda day, length: (
        calendar.add_months(day, -length) + timedelta(days=1),
        day,
    ),
}


def bounds(window: Window, now: datetime, zone: ZoneInfo) -> tuple[date, date]:
    """The first and the last local day of a window, both inclusive."""
    day = calendar.local_day(window.time or now, zone)
    return _BOUNDS[window.period](max(day, _WINDOW_FLOOR), window.length)


def billing_month(day: date, billing_day: int) -> tuple[date, date]:
    """The first and the last day of the billing month of a day.

    It begins on the billing day, or on the last day of a month that is shorter.
    """
    start = _billing_start(day, billing_day)
    if start > day:
        start = _billing_start(calendar.month_start(day) - timedelta(days=1), billing_day)
    after = _billing_start(calendar.add_months(calendar.month_start(start), 1), billing_day)
    return start, after - timedelta(days=1)


def _billing_start(day: date, billing_day: int) -> date:
    last = _month_end(day)
    return last if billing_day > last.day else day.replace(day=billing_day)


def months_of(first: date, last: date) -> tuple[int, int]:
    """The first and the last month that a stretch of days touches."""
    return calendar.month_index(first), calendar.month_index(last)


def total(months: Months, first: date, last: date) -> int:
    """The sum over the days from `first` to `last`, both inclusive."""
    first_month, last_month = months_of(first, last)
    result = 0
    for month, days in months.items():
        if first_month < month < last_month:
            result += sum(days)
        elif first_month <= month <= last_month:
            low = first.day - 1 if month == first_month else 0
            high = last.day if month == last_month else 31
            result += sum(days[low:high])
    return result

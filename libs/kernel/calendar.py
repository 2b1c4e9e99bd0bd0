"""Calendar arithmetic in a program's time zone.

Days, months and years are local; instants are aware datetimes in UTC. An "end of a day" is the
first instant of the next local date, whether or not midnight exists there.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

# No instant that callers give lies outside these.
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
LAST_DAY = date(9999, 12, 30)
_DAY = timedelta(days=1)


class Period(IntEnum):
    """Which local days a window covers; the numbers of the contract."""

    LIFETIME = 1
    DAY = 2
    WEEK = 3
    MONTH = 4
    QUARTER = 5
    YEAR = 6
    ROLLING_DAYS = 7
    ROLLING_MONTHS = 8


@lru_cache(maxsize=4096)
def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The local date of an instant."""
    return instant.astimezone(zone).date()


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first instant whose local date is `day`, or a later one where the zone skips it."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    # Where midnight is skipped, the conversion lands behind the gap: go back to its edge.
    local = midnight.astimezone(zone)
    if local.replace(tzinfo=None) == datetime.combine(day, time.min):
        return midnight
    low, high = midnight - _DAY, midnight
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).date() < day:
            low = middle
        else:
            high = middle
    return high


def add_months(day: date, months: int) -> date:
    """The same day of the month `months` later, or that month's last day where it is shorter."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def months_after(instant: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The same local time of day, `months` later; a skipped local time moves behind the gap."""
    local = instant.astimezone(zone)
    moved = datetime.combine(add_months(local.date(), months), local.timetz().replace(fold=0))
    return moved.astimezone(UTC)


def days_after(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same local time of day, `days` later; a skipped local time moves behind the gap."""
    local = instant.astimezone(zone)
    moved = datetime.combine(local.date() + timedelta(days=days), local.timetz().replace(fold=0))
    return moved.astimezone(UTC)


def next_day(day: date) -> date:
    """The day after."""
    return day + _DAY


def month_start(day: date) -> date:
    """The first day of the month."""
    return day.replace(day=1)


def quarter_start(day: date) -> date:
    """The first day of the quarter."""
    return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)


def year_start(day: date) -> date:
    """The first day of the year."""
    return date(day.year, 1, 1)


def week_start(day: date) -> date:
    """The Monday of the week."""
    return day - timedelta(days=day.weekday())


def month_index(day: date) -> int:
    """Months since year 0: 12 × year + month − 1."""
    return day.year * 12 + day.month - 1

"""Times as files and options give them: dates and times of a program's zone, or with an offset."""

from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def zone_of(name: str) -> ZoneInfo:
    """A program's time zone, UTC where it names none; ValueError where this machine lacks it."""
    try:
        return ZoneInfo(name or "UTC")
    except ZoneInfoNotFoundError:
        raise ValueError(f"this machine does not know {name}: install the package tzdata") from None


def instant_of(text: str, zone: ZoneInfo) -> datetime:
    """The instant of a date or a time, local to `zone` where it has no offset; or a ValueError.

    A date is its first instant.
    """
    return instant_and_day(text, zone)[0]


def instant_and_day(text: str, zone: ZoneInfo) -> tuple[datetime, date]:
    """The instant of a date or a time as `instant_of` has it, and its day in `zone`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time such as 2026-01-31 or 2026-01-31T17:05:00+01:00"
        ) from None
    try:
        local = time if time.tzinfo is not None else time.replace(tzinfo=zone)
        instant = local.astimezone(UTC)
        if time.tzinfo is None and time.time() == wall_time.min:
            instant = _not_before(time.date(), instant, zone)
        if not _EARLIEST <= instant < _LATEST:
            raise OverflowError
        return instant, instant.astimezone(zone).date()
    except OverflowError:
        raise ValueError(f"{text!r} is not between 1900 and 9000") from None


def _not_before(day: date, midnight: datetime, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, which is later than midnight where that is skipped."""
    before = midnight - timedelta(hours=3)
    if midnight.astimezone(zone).replace(tzinfo=None) == datetime(day.year, day.month, day.day):  # noqa: DTZ001 - wall clock times are compared
        return midnight
    while midnight - before > timedelta(microseconds=1):
        middle = before + (midnight - before) // 2
        before, midnight = (
            (middle, midnight) if middle.astimezone(zone).date() < day else (before, middle)
        )
    return midnight

"""When points expire, and in which order they are spent."""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from kernel import calendar
from services.ledger.domain.account import Lot
from services.ledger.domain.config import Expiry, ExpiryKind, RoundTo

FOREVER = datetime.max.replace(tzinfo=UTC)


def _end_of_day(instant: datetime, zone: ZoneInfo) -> datetime:
    return calendar.first_instant(calendar.next_day(calendar.local_day(instant, zone)), zone)


def _end_of_month(instant: datetime, zone: ZoneInfo) -> datetime:
    start = calendar.month_start(calendar.local_day(instant, zone))
    return calendar.first_instant(calendar.add_months(start, 1), zone)


def _end_of_quarter(instant: datetime, zone: ZoneInfo) -> datetime:
    start = calendar.quarter_start(calendar.local_day(instant, zone))
    return calendar.first_instant(calendar.add_months(start, 3), zone)


def _end_of_year(instant: datetime, zone: ZoneInfo) -> datetime:
    start = calendar.year_start(calendar.local_day(instant, zone))
    return calendar.first_instant(calendar.add_months(start, 12), zone)


_ROUND: dict[RoundTo, Callable[[datetime, ZoneInfo], datetime]] = {
    RoundTo.EXACT: lambda instant, _: instant,
    RoundTo.DAY: _end_of_day,
    RoundTo.MONTH: _end_of_month,
    RoundTo.QUARTER: _end_of_quarter,
    RoundTo.YEAR: _end_of_year,
}


def expire_time(expiry: Expiry, mature_time: datetime, zone: ZoneInfo) -> datetime | None:
    """When points that mature at an instant expire; None for never and for INACTIVITY."""
    if expiry.kind is ExpiryKind.FIXED:
        if expiry.months:
            end = calendar.months_after(mature_time, expiry.months, zone)
        else:
            end = calendar.days_after(mature_time, expiry.days, zone)
        return _ROUND[expiry.round_to](end, zone)
    if expiry.kind is ExpiryKind.DATE and expiry.date is not None:
        # Points that mature after the date are dead as they mature, never before.
        return max(calendar.first_instant(calendar.next_day(expiry.date), zone), mature_time)
    return None


def expires(lot: Lot, last_activity: datetime | None, zone: ZoneInfo) -> datetime:
    """The instant at which a lot expires as things stand; `FOREVER` where it does not."""
    if lot.expiry_kind is ExpiryKind.INACTIVITY:
        anchor = lot.mature_time
        if last_activity is not None and last_activity > anchor:
            anchor = last_activity
        return calendar.months_after(anchor, lot.inactivity_months, zone)
    return lot.expire_time or FOREVER


def spending_order(
    lot: Lot, last_activity: datetime | None, zone: ZoneInfo
) -> tuple[datetime, datetime, int]:
    """First to expire, first spent: members lose the fewest points this way, so it is a promise."""
    return expires(lot, last_activity, zone), lot.earn_time, lot.sequence

"""What hypothesis draws: programs, operations and times that meet at boundaries on purpose."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.properties.model_shapes import (
    Adjust,
    Count,
    Earn,
    Limits,
    Op,
    Redeem,
    Settings,
    Strategy,
    Window,
)

MEMBERS = ("ada", "bob|1", "c+d@x.example")
CURRENCIES = ("points", "cash", "miles")
COUNTERS = ("visits", "spend")
NAMES = ("never", "fixed", "idle", "dated", "monthly")
ZONES = ("UTC", "Europe/Rome", "America/Havana", "Africa/Cairo", "Asia/Kathmandu")
# Just before a leap day, the changes of clocks, month ends and a new year; UTC.
STARTS = (
    datetime(2024, 1, 31, 22, 30, tzinfo=UTC),
    datetime(2024, 2, 28, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2025, 3, 29, 1, 30, tzinfo=UTC),
    datetime(2025, 4, 24, 22, tzinfo=UTC),
    datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
    datetime(2025, 12, 31, 12, tzinfo=UTC),
)
JUMPS = (
    timedelta(microseconds=1),
    timedelta(hours=1),
    timedelta(hours=23),
    timedelta(days=1),
    timedelta(days=9),
    timedelta(days=31),
    timedelta(days=100),
)

amounts = st.integers(1, 60) | st.sampled_from((1, 5, 10, 100, 10**15 - 1, 10**15))
small = st.integers(1, 60)
rare = st.integers(0, 19).map(lambda number: number == 0)
policies = st.sampled_from(("WITHIN_BALANCE", "OWN_LOTS_ONLY", "ALLOW_DEBT", "ALLOW_DEBT"))
rounds = st.sampled_from(("", "", "DAY", "MONTH", "QUARTER", "YEAR"))


@st.composite
def strategies(draw: st.DrawFn, start: datetime) -> tuple[Strategy, ...]:
    """One strategy of each kind, the first being the program's default."""
    day = date(start.year, start.month, start.day)
    found = [
        Strategy("never", "NONE"),
        Strategy("fixed", "FIXED", days=draw(st.integers(1, 40)), round_to=draw(rounds)),
        Strategy("monthly", "FIXED", months=draw(st.integers(1, 3)), round_to=draw(rounds)),
        Strategy("idle", "INACTIVITY", months=draw(st.integers(1, 2))),
        Strategy("dated", "DATE", day=day + timedelta(days=draw(st.integers(-2, 40)))),
    ]
    return tuple(draw(st.permutations(found)))


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Caps that bite, or none."""
    cap = st.none() | st.none() | st.integers(0, 150)
    return Limits(draw(cap), draw(cap), draw(cap))


@st.composite
def programs(draw: st.DrawFn, start: datetime) -> Settings:
    """A program's settings."""
    near = st.none() | st.none() | st.integers(-5, 40).map(lambda days: start + timedelta(days))
    return Settings(
        zone=ZoneInfo(draw(st.sampled_from(ZONES))),
        strategies=draw(strategies(start)),
        currencies=CURRENCIES,
        counters=COUNTERS,
        limits=draw(limits()),
        overrides=(("cash", draw(limits())),),
        currency_expiry=(("miles", "idle"),) if draw(st.booleans()) else (),
        money=draw(st.sampled_from(("USD", "JPY", "KWD"))),
        auto_enrol=not draw(rare),
        start=start - timedelta(days=3) if draw(rare) else None,
        end=draw(near) if draw(st.booleans()) else None,
        redeem_until=draw(near) if draw(st.booleans()) else None,
        minimum_balance=draw(st.sampled_from((0, 0, 7))),
        step=draw(st.sampled_from((1, 1, 1, 5))),
        rate=draw(st.sampled_from(("", "0.015", "1", "0.333333333"))),
        pending_conversion=draw(st.booleans()),
        notice_days=draw(st.sampled_from((0, 0, 0, 3, 30))),
        billing_month=draw(st.booleans()),
        returns_policy=draw(policies),
        debt_floor=draw(st.none() | st.integers(0, 60)),
        redemption_reversal=not draw(rare),
        grace_days=draw(st.sampled_from((0, 0, 1, 30))),
        transfer_enabled=not draw(rare),
        transfer_minimum=draw(st.sampled_from((1, 1, 5))),
        transfer_maximum=draw(st.sampled_from((None, None, 40))),
        transfer_count=draw(st.sampled_from((None, None, 2))),
        transfer_points=draw(st.sampled_from((None, None, 80))),
        transfer_age_days=draw(st.sampled_from((0, 0, 1, 9))),
    )


@st.composite
def reconfigured(draw: st.DrawFn, settings: Settings) -> Settings:
    """The same program with other settings; zone, strategies and currencies stay."""
    start = STARTS[0]
    other = draw(programs(start))
    return replace(
        other,
        zone=settings.zone,
        strategies=settings.strategies,
        overrides=settings.overrides,
        currency_expiry=settings.currency_expiry,
        money=settings.money,
        default_expiry=draw(st.sampled_from(("", *NAMES))),
        start=None,
        end=None,
        redeem_until=None,
        # Who is told ahead by another number of days is found by a job, at its own pace.
        notice_days=settings.notice_days,
    )


@st.composite
def operations(draw: st.DrawFn, now: datetime) -> Op:
    """One operation, mostly one that can succeed."""
    currency = "gold" if draw(rare) else draw(st.sampled_from(("", "", *CURRENCIES)))
    expiry = "nope" if draw(rare) else draw(st.sampled_from(("", "", *NAMES)))
    kind = draw(st.sampled_from(("earn", "earn", "earn", "redeem", "redeem", "adjust", "count")))
    points = draw(amounts) if draw(rare) else draw(small)
    partial = draw(st.booleans())
    if kind == "earn":
        later = st.sampled_from((None, None, -JUMPS[3], *JUMPS[1:6]))
        wait = draw(later)
        return Earn(points, currency, expiry, None if wait is None else now + wait)
    if kind == "redeem":
        if draw(st.booleans()):
            points += -points % 5
        return Redeem(points, currency, partial)
    if kind == "count":
        counter = "unknown" if draw(rare) else draw(st.sampled_from(COUNTERS))
        return Count(counter, draw(st.sampled_from((1, 7, -3))))
    if draw(st.booleans()):
        return Adjust(points, currency, "goodwill", expiry=expiry)
    return Adjust(-points, currency, "mistake", allow_partial=partial)


@st.composite
def windows(draw: st.DrawFn, now: datetime) -> Window:
    """A window of a counter that exists."""
    counter = draw(st.sampled_from((*COUNTERS, "points_earned", "points_earned:cash")))
    period = draw(
        st.sampled_from(
            (
                "LIFETIME",
                "DAY",
                "WEEK",
                "MONTH",
                "QUARTER",
                "YEAR",
                "ROLLING_DAYS",
                "ROLLING_MONTHS",
            )
        )
    )
    length = draw(st.integers(1, 40)) if period.startswith("ROLLING") else 0
    back = draw(st.sampled_from((None, *JUMPS)))
    return Window(counter, period, length, None if back is None else now - back)


@st.composite
def effective_times(draw: st.DrawFn, now: datetime) -> datetime | None:
    """Mostly now; sometimes late, rarely in the future."""
    if draw(rare):
        return now + timedelta(microseconds=1)
    back = draw(st.sampled_from((None, None, None, *JUMPS)))
    return None if back is None else now - back

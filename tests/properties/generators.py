"""What is drawn: programs, operations and times that meet at boundaries on purpose."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.properties.chance import Chance
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

LARGE = (1, 5, 10, 100, 10**15 - 1, 10**15)
POLICIES = ("WITHIN_BALANCE", "OWN_LOTS_ONLY", "ALLOW_DEBT", "ALLOW_DEBT")
ROUNDS = ("", "", "DAY", "MONTH", "QUARTER", "YEAR")
PERIODS = ("LIFETIME", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR", "ROLLING_DAYS", "ROLLING_MONTHS")
OPERATIONS = ("earn", "earn", "earn", "redeem", "redeem", "adjust", "count")


def small(chance: Chance) -> int:
    """Points as they are mostly."""
    return chance.number(1, 60)


def amounts(chance: Chance) -> int:
    """Points, up to the most that may be moved at once."""
    return small(chance) if chance.coin() else chance.pick(LARGE)


def strategies(chance: Chance, start: datetime) -> tuple[Strategy, ...]:
    """One strategy of each kind, the first being the program's default."""
    day = date(start.year, start.month, start.day)
    found = [
        Strategy("never", "NONE"),
        Strategy("fixed", "FIXED", days=chance.number(1, 40), round_to=chance.pick(ROUNDS)),
        Strategy("monthly", "FIXED", months=chance.number(1, 3), round_to=chance.pick(ROUNDS)),
        Strategy("idle", "INACTIVITY", months=chance.number(1, 2)),
        Strategy("dated", "DATE", day=day + timedelta(days=chance.number(-2, 40))),
    ]
    return tuple(chance.shuffled(found))


def _one_in_three(chance: Chance, low: int, high: int) -> int | None:
    return chance.number(low, high) if chance.number(0, 2) == 2 else None


def limits(chance: Chance) -> Limits:
    """Caps that bite, or none."""
    return Limits(*(_one_in_three(chance, 0, 150) for _ in range(3)))


def _near(chance: Chance, start: datetime) -> datetime | None:
    days = _one_in_three(chance, -5, 40) if chance.coin() else None
    return None if days is None else start + timedelta(days)


def programs(chance: Chance, start: datetime) -> Settings:
    """A program's settings."""
    drawn = _any_program(chance, start)
    # What ends before it starts is no program.
    over = drawn.start and drawn.end and drawn.end <= drawn.start
    return replace(drawn, end=None) if over else drawn


def _any_program(chance: Chance, start: datetime) -> Settings:
    return Settings(
        zone=ZoneInfo(chance.pick(ZONES)),
        strategies=strategies(chance, start),
        currencies=CURRENCIES,
        counters=COUNTERS,
        limits=limits(chance),
        overrides=(("cash", limits(chance)),),
        currency_expiry=(("miles", "idle"),) if chance.coin() else (),
        money=chance.pick(("USD", "JPY", "KWD")),
        auto_enrol=not chance.rare(),
        start=start - timedelta(days=3) if chance.rare() else None,
        end=_near(chance, start),
        redeem_until=_near(chance, start),
        minimum_balance=chance.pick((0, 0, 7)),
        step=chance.pick((1, 1, 1, 5)),
        rate=chance.pick(("", "0.015", "1", "0.333333333")),
        pending_conversion=chance.coin(),
        notice_days=chance.pick((0, 0, 0, 3, 30)),
        billing_month=chance.coin(),
        returns_policy=chance.pick(POLICIES),
        debt_floor=chance.number(0, 60) if chance.coin() else None,
        redemption_reversal=not chance.rare(),
        grace_days=chance.pick((0, 0, 1, 30)),
        transfer_enabled=not chance.rare(),
        transfer_minimum=chance.pick((1, 1, 5)),
        transfer_maximum=chance.pick((None, None, 40)),
        transfer_count=chance.pick((None, None, 2)),
        transfer_points=chance.pick((None, None, 80)),
        transfer_age_days=chance.pick((0, 0, 1, 9)),
    )


def reconfigured(chance: Chance, settings: Settings) -> Settings:
    """The same program with other settings; zone, strategies and currencies stay."""
    other = programs(chance, STARTS[0])
    return replace(
        other,
        zone=settings.zone,
        strategies=settings.strategies,
        overrides=settings.overrides,
        currency_expiry=settings.currency_expiry,
        money=settings.money,
        default_expiry=chance.pick(("", *NAMES)),
        start=None,
        end=None,
        redeem_until=None,
        # Who is told ahead by another number of days is found by a job, at its own pace.
        notice_days=settings.notice_days,
    )


def operations(chance: Chance, now: datetime) -> Op:
    """One operation, mostly one that can succeed."""
    currency = "gold" if chance.rare() else chance.pick(("", "", *CURRENCIES))
    expiry = "nope" if chance.rare() else chance.pick(("", "", *NAMES))
    kind = chance.pick(OPERATIONS)
    points = amounts(chance) if chance.rare() else small(chance)
    partial = chance.coin()
    if kind == "earn":
        wait = chance.pick((None, None, -JUMPS[3], *JUMPS[1:6]))
        return Earn(points, currency, expiry, None if wait is None else now + wait)
    if kind == "redeem":
        if chance.coin():
            points += -points % 5
        return Redeem(points, currency, partial)
    if kind == "count":
        counter = "unknown" if chance.rare() else chance.pick(COUNTERS)
        return Count(counter, chance.pick((1, 7, -3)))
    if chance.coin():
        return Adjust(points, currency, "goodwill", expiry=expiry)
    return Adjust(-points, currency, "mistake", allow_partial=partial)


def windows(chance: Chance, now: datetime) -> Window:
    """A window of a counter that exists."""
    counter = chance.pick((*COUNTERS, "points_earned", "points_earned:cash"))
    period = chance.pick(PERIODS)
    length = chance.number(1, 40) if period.startswith("ROLLING") else 0
    back = chance.pick((None, *JUMPS))
    return Window(counter, period, length, None if back is None else now - back)


def effective_times(chance: Chance, now: datetime) -> datetime | None:
    """Mostly now; sometimes late, rarely in the future."""
    if chance.rare():
        return now + timedelta(microseconds=1)
    back = chance.pick((None, None, None, *JUMPS))
    return None if back is None else now - back

"""The reference model against cases worked out by hand, so that it may judge the ledger."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tests.properties.model import Program
from tests.properties.model_shapes import (
    Account,
    Adjust,
    Command,
    Count,
    Earn,
    Limits,
    Lot,
    Op,
    Redeem,
    Refused,
    Settings,
    Strategy,
    Window,
)
from tests.properties.model_time import first_instant, window_days

ROME = ZoneInfo("Europe/Rome")
NEVER = Strategy("never", "NONE")
ZONES = {name: ZoneInfo(name) for name in ("UTC", "Europe/Rome", "America/Havana", "Africa/Cairo")}


def utc(*fields: int) -> datetime:
    """An instant in UTC."""
    year, month, day, *rest = fields
    hour, minute = (*rest, 0, 0)[:2]
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def rome(*fields: int) -> datetime:
    """An instant on the wall clock of Rome."""
    return utc(*fields).replace(tzinfo=ROME).astimezone(UTC)


EXPIRIES: dict[str, tuple[Strategy, datetime, datetime | None]] = {
    "never": (NEVER, rome(2025, 1, 31), None),
    "31 January + 1 month is the last of February": (
        Strategy("s", "FIXED", months=1),
        rome(2025, 1, 31, 10),
        rome(2025, 2, 28, 10),
    ),
    "in a leap year the 29th": (
        Strategy("s", "FIXED", months=1),
        rome(2024, 1, 31, 10),
        rome(2024, 2, 29, 10),
    ),
    "months count from the anchor: + 2 months is 31 March, in summer time": (
        Strategy("s", "FIXED", months=2),
        rome(2025, 1, 31, 10),
        utc(2025, 3, 31, 8),
    ),
    "29 February + 12 months is 28 February": (
        Strategy("s", "FIXED", months=12),
        rome(2024, 2, 29, 10),
        rome(2025, 2, 28, 10),
    ),
    "a day is a calendar day when the clocks change": (
        Strategy("s", "FIXED", days=1),
        rome(2025, 3, 29, 12),
        rome(2025, 3, 29, 12) + timedelta(hours=23),
    ),
    "a time that the clocks skip moves on": (
        Strategy("s", "FIXED", days=1),
        rome(2025, 3, 29, 2, 30),
        utc(2025, 3, 30, 1, 30),
    ),
    "to the end of the day": (
        Strategy("s", "FIXED", days=10, round_to="DAY"),
        rome(2025, 5, 1, 12),
        rome(2025, 5, 12),
    ),
    "an expiry at midnight is rounded to the end of the day that begins": (
        Strategy("s", "FIXED", days=10, round_to="DAY"),
        rome(2025, 5, 1),
        rome(2025, 5, 12),
    ),
    "to the end of the month": (
        Strategy("s", "FIXED", months=1, round_to="MONTH"),
        rome(2025, 1, 31, 12),
        rome(2025, 3, 1),
    ),
    "to the end of the quarter": (
        Strategy("s", "FIXED", months=3, round_to="QUARTER"),
        rome(2025, 2, 14, 12),
        rome(2025, 7, 1),
    ),
    "to the end of the year": (
        Strategy("s", "FIXED", days=90, round_to="YEAR"),
        rome(2025, 10, 3),
        rome(2027, 1, 1),
    ),
    "the set date is the last day": (
        Strategy("s", "DATE", day=date(2025, 12, 31)),
        rome(2025, 2, 14),
        rome(2026, 1, 1),
    ),
    "inactivity counts from maturity where nothing happened since": (
        Strategy("s", "INACTIVITY", months=6),
        rome(2025, 8, 31, 9),
        rome(2026, 2, 28, 9),
    ),
}


@pytest.mark.parametrize("name", EXPIRIES)
def test_a_lot_expires_at_its_instant(name: str) -> None:
    """Each policy, month end, leap day and change of clocks."""
    strategy, mature, expected = EXPIRIES[name]
    program = Program(Settings(ROME, (strategy,)), mature)
    lot = Lot(1, "points", 1, 1, False, mature, mature, strategy)

    assert program.expire_time(Account("m", mature), lot) == expected


DAYS = {
    "midnight in UTC": ("UTC", date(2025, 3, 30), utc(2025, 3, 30)),
    "midnight in Rome": ("Europe/Rome", date(2025, 3, 30), utc(2025, 3, 29, 23)),
    "no midnight in Cairo": ("Africa/Cairo", date(2025, 4, 25), utc(2025, 4, 24, 22)),
    "two midnights in Havana": ("America/Havana", date(2025, 11, 2), utc(2025, 11, 2, 4)),
}


@pytest.mark.parametrize("name", DAYS)
def test_a_local_day_begins_at_its_first_instant(name: str) -> None:
    """Also where midnight is skipped or comes twice."""
    zone, day, expected = DAYS[name]

    assert first_instant(day, ZONES[zone]) == expected


WINDOWS = {
    "a week begins on Monday": ("WEEK", 0, date(2025, 1, 1), (2024, 12, 30), (2025, 1, 5)),
    "a quarter": ("QUARTER", 0, date(2025, 5, 31), (2025, 4, 1), (2025, 6, 30)),
    "thirty rolling days": ("ROLLING_DAYS", 30, date(2025, 3, 30), (2025, 3, 1), (2025, 3, 30)),
    "a rolling month from a short one": (
        "ROLLING_MONTHS",
        1,
        date(2025, 3, 31),
        (2025, 3, 1),
        (2025, 3, 31),
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_is_a_stretch_of_local_days(name: str) -> None:
    """First and last day, both included."""
    period, length, day, first, last = WINDOWS[name]

    assert window_days(period, length, day) == (date(*first), date(*last))


START = utc(2025, 1, 10, 12)
LONG = Strategy("long", "FIXED", days=100)
SHORT = Strategy("short", "FIXED", days=50)
IDLE = Strategy("idle", "INACTIVITY", months=1)
GONE = Strategy("gone", "DATE", day=date(2025, 1, 1))
PLAIN = Settings(
    ZoneInfo("UTC"),
    (LONG, SHORT, IDLE, GONE),
    counters=("visits",),
    rate="0.015",
    minimum_balance=5,
)


def run(
    settings: Settings, *steps: Op | timedelta, effective_time: datetime | None = None
) -> tuple[Program, list[str]]:
    """Does single operations and advances; answers the program and each step's outcome."""
    program, outcomes = Program(settings, START), list[str]()
    for number, step in enumerate(steps):
        if isinstance(step, timedelta):
            program.advance(program.now + step)
            continue
        command = Command("m", f"r{number}", (step,), True, effective_time)
        try:
            answer = program.do(command)
            outcomes.append(f"{sum(entry.points for entry in answer.entries)}")
        except Refused as refused:
            outcomes.append(refused.reason)
    return program, outcomes


DAY = timedelta(days=1)
CASES: dict[str, tuple[Settings, list[Op | timedelta], list[str], int]] = {
    "first to expire is spent first and the rest expires": (
        PLAIN,
        [Earn(100), Earn(50, expiry="short"), Redeem(70), 60 * DAY],
        ["100", "50", "-70"],
        80,
    ),
    "a lot is dead at its expiry instant": (
        PLAIN,
        [Earn(50, expiry="short"), 50 * DAY, Redeem(5)],
        ["50", "BELOW_MINIMUM_BALANCE"],
        0,
    ),
    "and alive just before": (
        PLAIN,
        [Earn(50, expiry="short"), 50 * DAY - timedelta(microseconds=1), Redeem(5)],
        ["50", "-5"],
        45,
    ),
    "activity keeps idle points alive, adjustments do not": (
        PLAIN,
        [Earn(50, expiry="idle"), 20 * DAY, Redeem(10), 20 * DAY, Adjust(1), 15 * DAY],
        ["50", "-10", "1"],
        1,
    ),
    "points earned dead expire at once": (PLAIN, [Earn(50, expiry="gone")], ["0"], 0),
    "a daily cap before a monthly cap before the maximum balance": (
        replace(PLAIN, limits=Limits(100, 150, 120)),
        [Earn(130), DAY, Earn(60), Redeem(90), Earn(60)],
        ["100", "20", "-90", "30"],
        60,
    ),
    "a credit over the maximum balance is refused": (
        replace(PLAIN, limits=Limits(maximum_balance=120)),
        [Adjust(120), Adjust(1)],
        ["120", "LIMIT_REACHED"],
        120,
    ),
    "a debit never goes below zero": (
        PLAIN,
        [Earn(30), Adjust(-31), Adjust(-31, allow_partial=True), Adjust(-1, allow_partial=True)],
        ["30", "INSUFFICIENT_POINTS", "-30", "INSUFFICIENT_POINTS"],
        0,
    ),
    "a partial redemption goes down to the step": (
        replace(PLAIN, step=20),
        [Earn(50), Redeem(70), Redeem(60), Redeem(60, allow_partial=True), Redeem(20)],
        ["50", "NOT_A_MULTIPLE_OF_STEP", "INSUFFICIENT_POINTS", "-40", "INSUFFICIENT_POINTS"],
        10,
    ),
    "pending points are not spendable until they mature": (
        PLAIN,
        [Earn(50, mature_time=START + DAY), Redeem(5), DAY, Redeem(5)],
        ["50", "BELOW_MINIMUM_BALANCE", "-5"],
        45,
    ),
    "an unknown member cannot redeem": (PLAIN, [Redeem(1)], ["MEMBER_NOT_FOUND"], -1),
    "an earning cannot exceed 10^15": (
        PLAIN,
        [Earn(10**15), Earn(1)],
        ["1000000000000000", "POINTS_OVERFLOW"],
        10**15,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_model_decides(name: str) -> None:
    """Operations, days passing, and the balance that is left; −1 where there is no member."""
    settings, steps, expected, balance = CASES[name]

    program, outcomes = run(settings, *steps)

    account = program.accounts.get("m")
    assert outcomes == expected
    assert (program.available(account, "points") if account else -1) == balance


def test_the_value_is_rounded_down_to_the_smallest_coin() -> None:
    """15 points at 0.015 are 0.225: 0.22."""
    program, _ = run(PLAIN, Earn(50))

    answer = program.do(Command("m", "x", (Redeem(15),), True))

    assert answer.value == Decimal("0.22")


def test_points_that_expire_at_one_instant_are_one_entry() -> None:
    """Whatever number of lots and however late it is recorded."""
    program, _ = run(PLAIN, Earn(10), Earn(20), Adjust(5), 200 * DAY)

    expired = [entry for entry in program.find("m").entries if entry.kind == "EXPIRED"]
    assert [(entry.points, entry.effective_time) for entry in expired] == [(-35, START + 100 * DAY)]


def test_all_operations_apply_or_none() -> None:
    """The second refuses; the first leaves no trace, not even the member."""
    program = Program(PLAIN, START)

    with pytest.raises(Refused) as caught:
        program.do(Command("m", "x", (Count("visits", 1), Redeem(5))))

    assert caught.value.metadata["operation"] == "1"
    assert not program.accounts


def test_a_request_id_answers_once_and_for_ever() -> None:
    """The same again is a replay, before any other check; another request is refused."""
    program, _ = run(PLAIN, Earn(50))
    again = Command("m", "r0", (Earn(50),), True, expected_version=17)

    answer = program.do(again)
    with pytest.raises(Refused) as caught:
        program.do(replace(again, ops=(Earn(51),)))

    assert answer.replayed
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_a_stale_precondition_refuses() -> None:
    """By version, and by what a counter was."""
    program, _ = run(PLAIN, Earn(50), Count("visits", 2))
    day = Window("visits", "DAY")

    with pytest.raises(Refused, match="PRECONDITION_CHANGED"):
        program.do(Command("m", "x", (Earn(1),), True, expected_version=1))
    with pytest.raises(Refused, match="PRECONDITION_CHANGED"):
        program.do(Command("m", "x", (Earn(1),), True, expect=((day, 1),)))

    assert program.do(Command("m", "x", (Earn(1),), True, expect=((day, 2),))).version == 3


def test_upcoming_expirations_are_by_the_last_day_of_spending() -> None:
    """An expiry at midnight belongs to the day that ends."""
    midnight = Strategy("midnight", "FIXED", days=100, round_to="DAY")
    program, _ = run(
        replace(PLAIN, strategies=(LONG, midnight)), Earn(7), Earn(8, expiry="midnight")
    )

    assert program.expirations(program.find("m")) == [
        (date(2025, 4, 20), "points", START + 100 * DAY, 15)
    ]

"""Traps that other ledgers fell into, of one member and one caller at a time."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.faults.trap_kit import DAY, INSTANT, PLAIN, POLICIES, START, Sandbox, policy
from tests.properties.driver import Ledger
from tests.properties.messages import instant
from tests.properties.model_shapes import (
    Adjust,
    CaptureHold,
    Count,
    CreateHold,
    Earn,
    Redeem,
    Refused,
    ReleaseHold,
    Reversal,
    ReversePosting,
    Strategy,
    TransferPoints,
    Window,
)

MOST = 10**15


def reverse(request_id: str, points: int = 0) -> ReversePosting:
    """What a failed reward or a returned purchase asks for, which settings cannot forbid."""
    return ReversePosting(request_id, points, cause="PURCHASE_RETURNED")


def test_points_are_not_redeemed_in_the_instant_in_which_they_expire(ledgers: list[Ledger]) -> None:
    """A microsecond earlier they are; the expiry is dated to the instant, not to who noticed."""
    sandbox = Sandbox(ledgers[0])
    sandbox.do(Earn(50, expiry="short"))
    expires = START + 50 * DAY

    sandbox.advance(expires - INSTANT)
    sandbox.do(Redeem(20))
    sandbox.advance(expires)

    assert sandbox.refusal(Redeem(1)) == "INSUFFICIENT_POINTS"
    assert sandbox.numbers() == (0, 0, 0, 0)
    entry = sandbox.driver.entries(
        "ada", sandbox.driver.pages("ListEntries", "entries", 1, member="ada")[:1]
    )[0]
    assert (entry.kind, entry.points, entry.effective_time) == ("EXPIRED", -30, expires)


@pytest.mark.parametrize("name", POLICIES)
def test_returning_a_purchase_whose_points_have_all_expired_takes_nothing_from_others(
    ledgers: list[Ledger], name: str
) -> None:
    sandbox = Sandbox(ledgers[0], policy(name))
    sandbox.do(Earn(50, expiry="short"), request_id="bought")
    sandbox.do(Earn(30))
    sandbox.advance(60 * DAY)

    answer = sandbox.do(reverse("bought"))

    assert answer.reversal == Reversal(reversed=0, unrecovered=0, expired=50)
    assert sandbox.numbers() == (30, 0, 0, 0)
    assert sandbox.refusal(reverse("bought")) == "REVERSAL_EXCEEDS"


@pytest.mark.parametrize("name", POLICIES)
def test_holding_returning_and_releasing_makes_no_points(ledgers: list[Ledger], name: str) -> None:
    sandbox = Sandbox(ledgers[0], policy(name))
    sandbox.do(Earn(100), request_id="bought")
    sandbox.do(CreateHold(60), request_id="held")

    sandbox.do(reverse("bought"))
    sandbox.do(ReleaseHold("held"))

    assert sandbox.numbers() == (0, 0, 0, 0)


@pytest.mark.parametrize("name", POLICIES)
def test_holding_returning_and_lapsing_makes_no_points(ledgers: list[Ledger], name: str) -> None:
    sandbox = Sandbox(ledgers[0], policy(name))
    sandbox.do(Earn(100), request_id="bought")
    sandbox.do(CreateHold(60), request_id="held")
    sandbox.do(reverse("bought"))

    sandbox.advance(timedelta(hours=1))

    assert sandbox.numbers() == (0, 0, 0, 0)


@pytest.mark.parametrize("name", POLICIES)
def test_redeeming_returning_and_restoring_makes_no_points(
    ledgers: list[Ledger], name: str
) -> None:
    """In whichever parts it happens."""
    sandbox = Sandbox(ledgers[0], policy(name))
    sandbox.do(Earn(100), request_id="bought")
    sandbox.do(Redeem(70), request_id="spent")

    for points in (30, 40, 30):
        sandbox.do(reverse("bought", points))
    for points in (50, 20):
        sandbox.do(reverse("spent", points))

    assert sandbox.numbers() == (0, 0, 0, 0)
    assert sandbox.refusal(reverse("bought", 1)) == "REVERSAL_EXCEEDS"
    assert sandbox.refusal(reverse("spent", 1)) == "REVERSAL_EXCEEDS"


@pytest.mark.parametrize("name", POLICIES)
def test_debt_comes_back_when_what_repaid_it_is_returned(ledgers: list[Ledger], name: str) -> None:
    """Under any policy: it was owed before."""
    sandbox = Sandbox(ledgers[0], policy("ALLOW_DEBT"))
    sandbox.do(Earn(100), request_id="first")
    sandbox.do(Redeem(100))
    sandbox.do(reverse("first"))
    sandbox.do(Earn(130), request_id="second")
    assert sandbox.numbers() == (30, 0, 0, 0)
    sandbox.driver.configure(policy(name))

    answer = sandbox.do(reverse("second"))

    assert answer.reversal == Reversal(reversed=130, unrecovered=0, expired=0)
    assert sandbox.numbers() == (0, 0, 0, 100)
    assert sandbox.kinds().count("DEBT_REPAID") == 1


def test_pending_points_repay_debt_as_they_mature(ledgers: list[Ledger]) -> None:
    sandbox = Sandbox(ledgers[0], policy("ALLOW_DEBT"))
    sandbox.do(Earn(100), request_id="first")
    sandbox.do(Redeem(100))
    sandbox.do(reverse("first"))
    sandbox.do(Earn(130, mature_time=START + DAY))
    assert sandbox.numbers() == (0, 130, 0, 100)

    sandbox.advance(DAY)

    assert sandbox.numbers() == (30, 0, 0, 0)


def test_a_return_is_in_debt_no_deeper_than_the_floor(ledgers: list[Ledger]) -> None:
    sandbox = Sandbox(ledgers[0], policy("ALLOW_DEBT", debt_floor=25))
    sandbox.do(Earn(100), request_id="bought")
    sandbox.do(Redeem(100), request_id="spent")

    answer = sandbox.do(reverse("bought"))

    assert answer.reversal == Reversal(reversed=25, unrecovered=75, expired=0)
    assert sandbox.numbers() == (0, 0, 0, 25)
    sandbox.do(reverse("spent"))
    assert sandbox.numbers() == (0, 0, 0, 0)


ENDS = {
    "31 January and a month is the end of February": (
        "UTC",
        datetime(2025, 1, 31, 10, tzinfo=UTC),
        Strategy("s", "FIXED", months=1),
        datetime(2025, 2, 28, 10, tzinfo=UTC),
    ),
    "in a leap year it is the 29th": (
        "UTC",
        datetime(2024, 1, 31, 10, tzinfo=UTC),
        Strategy("s", "FIXED", months=1),
        datetime(2024, 2, 29, 10, tzinfo=UTC),
    ),
    "two months after 31 January is 31 March, not the 28th": (
        "UTC",
        datetime(2025, 1, 31, 10, tzinfo=UTC),
        Strategy("s", "FIXED", months=2),
        datetime(2025, 3, 31, 10, tzinfo=UTC),
    ),
    "a day is 23 hours where clocks go forward": (
        "Europe/Rome",
        datetime(2025, 3, 29, 11, tzinfo=UTC),
        Strategy("s", "FIXED", days=1),
        datetime(2025, 3, 30, 10, tzinfo=UTC),
    ),
    "and 25 where they go back": (
        "Europe/Rome",
        datetime(2025, 10, 25, 10, tzinfo=UTC),
        Strategy("s", "FIXED", days=1),
        datetime(2025, 10, 26, 11, tzinfo=UTC),
    ),
    "a day ends where midnight does not exist": (
        "Africa/Cairo",
        datetime(2025, 4, 23, 12, tzinfo=UTC),
        Strategy("s", "DATE", day=date(2025, 4, 24)),
        datetime(2025, 4, 24, 22, tzinfo=UTC),
    ),
    "a day ends where midnight comes twice": (
        "America/Havana",
        datetime(2025, 11, 1, 12, tzinfo=UTC),
        Strategy("s", "DATE", day=date(2025, 11, 1)),
        datetime(2025, 11, 2, 4, tzinfo=UTC),
    ),
    "idle for a month since 31 January": (
        "UTC",
        datetime(2025, 1, 31, 10, tzinfo=UTC),
        Strategy("s", "INACTIVITY", months=1),
        datetime(2025, 2, 28, 10, tzinfo=UTC),
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_points_live_through_february_and_changes_of_clocks(
    ledgers: list[Ledger], name: str
) -> None:
    zone, start, strategy, end = ENDS[name]
    settings = replace(PLAIN, zone=ZoneInfo(zone), strategies=(strategy,))
    sandbox = Sandbox(ledgers[0], settings, start)
    sandbox.do(Earn(50))

    (lot,) = sandbox.driver.pages("ListLots", "lots", 10, member="ada")
    assert instant(lot.expire_time) == end
    sandbox.advance(end - INSTANT)
    assert sandbox.numbers() == (50, 0, 0, 0)
    sandbox.advance(end)
    assert sandbox.numbers() == (0, 0, 0, 0)


def test_a_late_count_and_its_return_stand_on_the_local_day_of_the_event(
    ledgers: list[Ledger],
) -> None:
    """Half past midnight in Rome is yesterday in UTC, and the last day of February."""
    settings = replace(PLAIN, zone=ZoneInfo("Europe/Rome"))
    sandbox = Sandbox(ledgers[0], settings, datetime(2025, 3, 5, 12, tzinfo=UTC))
    late = datetime(2025, 2, 27, 23, 30, tzinfo=UTC)
    sandbox.do(Count("visits", 3), effective_time=late, request_id="seen")
    days = [Window("visits", "DAY", time=late + shift * DAY) for shift in (-1, 0, 1)]
    month = Window("visits", "MONTH", time=late)

    def values() -> list[int]:
        account = sandbox.driver.account("ada", [*days, month])
        return [counter.value for counter in account.counters]

    assert values() == [0, 3, 0, 3]
    sandbox.do(reverse("seen"))
    assert values() == [0, 0, 0, 0]
    assert sandbox.numbers() == (0, 0, 0, 0)


def test_no_number_of_points_leaves_its_bounds(ledgers: list[Ledger]) -> None:
    """Whichever way it is pushed: earned, credited, counted, given, restored."""
    sandbox = Sandbox(ledgers[0])
    sandbox.do(Earn(MOST))
    for push in (Earn(1), Earn(MOST), Adjust(1)):
        assert sandbox.refusal(push) == "POINTS_OVERFLOW", push
    assert sandbox.numbers() == (MOST, 0, 0, 0)

    sandbox.do(Earn(MOST), member="bob")
    assert sandbox.refusal(TransferPoints("bob", 1)) == "POINTS_OVERFLOW"
    sandbox.do(Count("visits", MOST))
    assert sandbox.refusal(Count("visits", 1)) == "POINTS_OVERFLOW"
    sandbox.do(Redeem(MOST), request_id="all")
    sandbox.do(Adjust(MOST))
    assert sandbox.refusal(reverse("all")) == "POINTS_OVERFLOW"
    assert sandbox.numbers() == (MOST, 0, 0, 0)
    with pytest.raises(Refused, match="INVALID_FIELD"):
        sandbox.do(Earn(MOST + 1))


def test_a_hold_asked_for_twice_is_answered_when_its_deadline_has_passed(
    ledgers: list[Ledger],
) -> None:
    """A recorded request is answered before anything else is looked at."""
    sandbox = Sandbox(ledgers[0])
    sandbox.do(Earn(100))
    hold = CreateHold(60, expire_time=START + DAY)
    first = sandbox.do(hold, request_id="held")
    sandbox.advance(2 * DAY)

    again = sandbox.do(hold, request_id="held")

    assert again == replace(first, replayed=True)
    assert sandbox.refusal(CaptureHold("held")) == "HOLD_CLOSED"
    assert sandbox.numbers() == (100, 0, 0, 0)


def test_what_is_held_outlives_its_expiry_and_dies_when_it_comes_back(
    ledgers: list[Ledger],
) -> None:
    sandbox = Sandbox(ledgers[0])
    sandbox.do(Earn(100, expiry="short"))
    sandbox.do(CreateHold(60, expire_time=START + 90 * DAY), request_id="held")

    sandbox.advance(70 * DAY)
    assert sandbox.numbers() == (0, 0, 60, 0)
    sandbox.do(CaptureHold("held", 25))

    assert sandbox.numbers() == (0, 0, 0, 0)
    assert sandbox.kinds()[-3:] == ["CAPTURED", "RELEASED", "EXPIRED"]


def test_ten_small_returns_take_as_much_as_one_large_one(ledgers: list[Ledger]) -> None:
    taken = []
    for parts in ((10,) * 10, (100,)):
        sandbox = Sandbox(ledgers[0], policy("ALLOW_DEBT", debt_floor=33))
        sandbox.do(Earn(100, expiry="short"), request_id="bought")
        sandbox.do(Earn(20))
        sandbox.do(Redeem(70))
        sandbox.advance(60 * DAY)
        for points in parts:
            sandbox.do(reverse("bought", points))
        taken.append(sandbox.numbers())

    assert taken[0] == taken[1]

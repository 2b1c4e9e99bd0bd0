"""A year of a sandbox program, day by day, beside the reference model."""

import random
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.properties.agreement import (
    assert_same_account,
    assert_same_answer,
    assert_same_history,
    assert_same_refusal,
)
from tests.properties.driver import Driver, Ledger
from tests.properties.effort import SEED
from tests.properties.model import Program
from tests.properties.model_shapes import (
    Adjust,
    Command,
    Count,
    Earn,
    Limits,
    Op,
    Redeem,
    Refused,
    Settings,
    Strategy,
    Window,
)

# From before a leap day, through both changes of clocks, to after a February without one.
START = datetime(2024, 1, 31, 9, 30, tzinfo=UTC)
END = datetime(2025, 3, 31, tzinfo=UTC)
MEMBERS = ("daily", "weekly", "monthly", "once")
YEAR = Settings(
    zone=ZoneInfo("Europe/Rome"),
    strategies=(
        Strategy("quarterly", "FIXED", months=1, round_to="QUARTER"),
        Strategy("month", "FIXED", months=1),
        Strategy("thirty", "FIXED", days=30, round_to="DAY"),
        Strategy("idle", "INACTIVITY", months=1),
        Strategy("christmas", "DATE", day=date(2024, 12, 25)),
        Strategy("never", "NONE"),
    ),
    currencies=("points", "cash"),
    counters=("visits",),
    limits=Limits(daily_cap=120, monthly_cap=260, maximum_balance=320),
    overrides=(("cash", Limits(daily_cap=40)),),
    currency_expiry=(("cash", "idle"),),
    rate="0.015",
)
WINDOWS = (
    Window("visits", "MONTH"),
    Window("visits", "ROLLING_DAYS", 30),
    Window("points_earned", "QUARTER"),
    Window("points_earned:cash", "ROLLING_MONTHS", 12),
)
KINDS = {
    "ENROLLED",
    "EARNED",
    "REDEEMED",
    "ADJUSTED_IN",
    "ADJUSTED_OUT",
    "MATURED",
    "EXPIRED",
    "COUNTED",
}


class Year:
    """The two sides, and the dice."""

    def __init__(self, ledger: Ledger) -> None:
        self.random = random.Random(SEED)
        self.model = Program(YEAR, START)
        self.driver = Driver(ledger, f"year{uuid.uuid4().hex}", YEAR, START)
        self.steps = 0

    def operation(self, member: str) -> Op:
        """What the member does today."""
        points = self.random.randrange(1, 150)
        name = self.random.choice(("", *(strategy.name for strategy in YEAR.strategies)))
        currency = self.random.choice(("", "", "cash"))
        wait = self.random.choice((None, None, timedelta(days=14), timedelta(hours=1)))
        mature = None if wait is None else self.model.now + wait
        choices: list[Op] = [
            Earn(points, currency, name, mature),
            Earn(points, currency, name),
            Redeem(points, currency, allow_partial=True),
            Redeem(points // 3 + 1, currency),
            Adjust(points // 5 + 1, currency, "goodwill", expiry=name),
            Adjust(-(points // 5 + 1), currency, "mistake", allow_partial=True),
            Count("visits", 1),
        ]
        if member == "once":
            return choices[1]
        return self.random.choice(choices)

    def post(self, member: str) -> None:
        """One or two operations, some of them late."""
        self.steps += 1
        ops = tuple(self.operation(member) for _ in range(self.random.choice((1, 1, 2))))
        late = self.random.choice((None, None, None, timedelta(days=1), timedelta(days=40)))
        time = None if late is None else self.model.now - late
        command = Command(member, f"step-{self.steps}", ops, len(ops) == 1, time)
        try:
            ours = self.model.do(command)
        except Refused as refused:
            with pytest.raises(Refused) as caught:
                self.driver.do(command)
            assert_same_refusal(caught.value, refused)
        else:
            theirs, _ = self.driver.do(command)
            # Only the answer of a redemption by itself says what it is worth.
            assert_same_answer(theirs, ours if command.single else replace(ours, value=None))

    def advance(self, time: datetime) -> None:
        """Moves both clocks."""
        assert self.driver.advance(time) >= self.model.advance(time)

    def check(self, member: str) -> None:
        """Every number of a member, and the digest chain."""
        account = self.model.accounts.get(member)
        if account is None:
            return
        shown = self.driver.account(member, WINDOWS)
        assert_same_account(shown, self.model, account)
        assert [counter.value for counter in shown.counters] == [
            self.model.counter(account, window) for window in WINDOWS
        ]
        assert self.driver.verified(member) == []


@pytest.mark.slow
def test_a_year_of_a_program_agrees_with_the_model(ledger: Ledger) -> None:
    """All four policies, caps, inactivity and the calendar's corners; verified at every step."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    year = Year(ledger)
    pace = {"daily": 2, "weekly": 7, "monthly": 29, "once": 10**6}
    day = 0
    while year.model.now < END:
        active = [member for member in MEMBERS if day % pace[member] == 0]
        for member in active:
            year.post(member)
        for member in active if day % 30 else MEMBERS:
            year.check(member)
        day += 1
        tomorrow = START + day * timedelta(days=1)
        due = year.model.next_due()
        if due is not None and due < tomorrow and year.random.random() < 0.5:
            # Once just before the instant, once at it.
            year.advance(max(due - timedelta(microseconds=1), year.model.now))
            year.advance(due)
        year.advance(tomorrow)
    for member in MEMBERS:
        assert_same_history(year.driver, year.model, year.model.find(member), 100)

    accounts = year.model.accounts.values()
    happened = {entry.kind for account in accounts for entry in account.entries}
    limits = {cut[0] for account in accounts for entry in account.entries for cut in entry.forfeits}
    assert happened == KINDS
    assert limits == {"DAILY_CAP", "MONTHLY_CAP", "MAXIMUM_BALANCE"}

"""A sandbox of one ledger, to be walked into a trap step by step."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from loyalty.ledger.v1 import resources_pb2
from tests.properties.driver import Driver, Ledger
from tests.properties.model_shapes import (
    Answer,
    Command,
    Lone,
    Op,
    Refused,
    Settings,
    Strategy,
)

START = datetime(2025, 1, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
PLAIN = Settings(
    ZoneInfo("UTC"),
    (Strategy("long", "FIXED", days=100), Strategy("short", "FIXED", days=50)),
    counters=("visits",),
    pending_conversion=True,
)
POLICIES = ("WITHIN_BALANCE", "OWN_LOTS_ONLY", "ALLOW_DEBT")


class Sandbox:
    """A program with the members `ada` and `bob`, whose time stands until `advance`."""

    def __init__(self, ledger: Ledger, settings: Settings = PLAIN, start: datetime = START) -> None:
        self.now, self.start = start, start
        self.driver = Driver(ledger, f"p{uuid.uuid4().hex}", settings, start)
        self._numbers = iter(range(10**6))
        for member in ("ada", "bob"):
            self.driver.do(Command(member, "enrol", ()))

    def do(
        self,
        *ops: Op | Lone,
        member: str = "ada",
        request_id: str = "",
        effective_time: datetime | None = None,
    ) -> Answer:
        """Sends operations as one command; fails with `Refused`."""
        name = request_id or f"r{next(self._numbers)}"
        command = Command(member, name, ops, len(ops) == 1, effective_time)
        answer, _ = self.driver.do(command)
        return answer

    def refusal(self, *ops: Op | Lone, member: str = "ada") -> str:
        """The reason for which operations are refused."""
        try:
            answer = self.do(*ops, member=member)
        except Refused as refused:
            return refused.reason
        raise AssertionError(f"not refused: {answer}")

    def advance(self, time: datetime | timedelta) -> None:
        """Moves the clock to an instant, or on by so much."""
        self.now = time if isinstance(time, datetime) else self.now + time
        self.driver.advance(self.now)

    def numbers(self, member: str = "ada") -> tuple[int, int, int, int]:
        """Available, pending, held and debt, after the books were found in order."""
        assert self.driver.verified(member) == []
        account = self.driver.account(member)
        (balance,) = account.balances
        return balance.available, balance.pending, balance.held, balance.debt

    def kinds(self, member: str = "ada") -> list[str]:
        """What happened, oldest first."""
        rows = self.driver.pages("ListEntries", "entries", 1000, member=member)
        return [resources_pb2.Entry.Kind.Name(row.kind) for row in reversed(rows)]


def policy(name: str, debt_floor: int | None = None) -> Settings:
    """A program whose returns take by a policy."""
    return replace(PLAIN, returns_policy=name, debt_floor=debt_floor)

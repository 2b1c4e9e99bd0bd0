"""A member that was merged, again and again, is as if it had been one from the start.

What a ledger does with somebody under ever new names is what the reference model, which knows
nothing of merging, does with one account: after every step, whatever is returned and given back.
"""

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2
from tests.properties.agreement import numbers
from tests.properties.driver import Driver, Ledger
from tests.properties.effort import LONG, SEED, TIMEOUT_SECONDS
from tests.properties.messages import stamp
from tests.properties.model import Program
from tests.properties.model_shapes import (
    Adjust,
    Answer,
    CaptureHold,
    Command,
    CreateHold,
    Earn,
    Lone,
    Op,
    Redeem,
    Refused,
    ReleaseHold,
    ReversePosting,
    Settings,
    Strategy,
)

ONE = "one"
START = datetime(2026, 1, 1, tzinfo=UTC)
WALKS = 150 if LONG else 3
STEPS = 60
STRATEGIES = (
    Strategy("days", "FIXED", days=6),
    Strategy("months", "FIXED", months=2),
    Strategy("idle", "INACTIVITY", months=1),
    Strategy("never", "NONE"),
)
POLICIES = ("WITHIN_BALANCE", "OWN_LOTS_ONLY", "ALLOW_DEBT")


class Walk:
    """One account in the model; in the ledger whoever it is by now. `names` are all it had."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.dice = random.Random(seed)
        settings = Settings(
            zone=ZoneInfo("UTC"),
            strategies=STRATEGIES,
            returns_policy=self.dice.choice(POLICIES),
            debt_floor=self.dice.choice((None, None, 40)),
        )
        self.program = f"m{uuid.uuid4().hex}"
        self.model = Program(settings, START)
        self.driver = Driver(ledger, self.program, settings, START)
        self.ledger = ledger
        self.number = 0
        # By request: the posting, or the hold, that it made.
        self.made: dict[str, str] = {}
        self.earned: list[str] = []
        self.spent: list[str] = []
        self.held: list[str] = []
        self.merges = 0
        self.story: list[str] = []
        self.names = [self._newcomer()]
        self.model.do(Command(ONE, "enrol", ()))
        self.advance(timedelta(days=1))

    def _newcomer(self) -> str:
        name = f"n{uuid.uuid4().hex[:8]}"
        request = account_pb2.EnrolMemberRequest(
            program=self.program, member=name, request_id="enrol"
        )
        self.ledger.call(self.ledger.accounts.EnrolMember, request)
        return name

    def advance(self, time: timedelta) -> None:
        """Lets time pass for both."""
        self.model.advance(self.model.now + time)
        self.driver.advance(self.model.now)
        self.story.append(f"later {time}")

    def step(self) -> None:
        """Does one thing to both, and expects the same."""
        dice, roll = self.dice, self.dice.random()
        points = dice.randrange(1, 50)
        if roll < 0.22:
            ahead = self.model.now + timedelta(days=dice.randrange(1, 20))
            mature = dice.choice((None, None, None, ahead))
            self.do(Earn(points, "", dice.choice(STRATEGIES).name, mature))
        elif roll < 0.40:
            self.do(Redeem(2 * points, allow_partial=dice.random() < 0.8))
        elif roll < 0.46:
            self.do(CreateHold(points, expire_time=self.model.now + timedelta(days=12)))
        elif roll < 0.56 and self.held:
            hold = dice.choice(self.held[-4:])
            self.do(dice.choice((CaptureHold(hold), CaptureHold(hold, points), ReleaseHold(hold))))
        elif roll < 0.71 and self.earned:
            self.do(self._reversal(self.earned))
        elif roll < 0.80 and self.spent:
            self.do(self._reversal(self.spent))
        elif roll < 0.82:
            self.do(Adjust(dice.choice((points, -points)), allow_partial=True))
        elif roll < 0.84:
            self.configure()
        elif roll < 0.93:
            self.merge()
        else:
            self.advance(timedelta(days=dice.choice((1, 5, 25))))

    def configure(self) -> None:
        """Another policy of returns from now on."""
        settings = replace(self.model.settings, returns_policy=self.dice.choice(POLICIES))
        self.model.settings = settings
        self.driver.configure(settings)
        self.story.append(settings.returns_policy)

    def _reversal(self, postings: list[str]) -> ReversePosting:
        return ReversePosting(self.dice.choice(postings), self.dice.choice((0, 0, 1, 7, 20)))

    def merge(self) -> None:
        """Become somebody else, unless points are set aside."""
        into = self._newcomer()
        request = group_pb2.MergeMembersRequest(
            program=self.program, member=self.names[-1], into=into, request_id="merge"
        )
        holds = self.model.accounts[ONE].holds
        why = "HOLD_OPEN" if any(hold.state == "OPEN" for hold in holds) else ""
        _, refused = self._ask(self.ledger.accounts.MergeMembers, request)
        assert refused == why, self.told()
        if why:
            return
        self.names.append(into)
        self.merges += 1
        self.story.append("merged")
        self.compare(None)

    def do(self, op: Op | Lone) -> None:
        """The same to both: the same answer, or the same refusal; and the same account after it."""
        self.number += 1
        name = f"r{self.number}"
        # No two earnings at one instant: which of them is spent first would be a matter of order.
        time = self.model.now - timedelta(microseconds=10**6 - self.number)
        command = Command(ONE, name, (op,), single=True, effective_time=time)
        expected, why = self._modelled(command)
        self.story.append(f"{name} {op} {why}")
        method = getattr(self.ledger.ledger, type(op).__name__)
        answer, refused = self._ask(method, self._request(op, name, time))
        assert refused == why, self.told()
        if expected is None:
            return
        self._note(op, name, answer)
        if expected.reversal is not None:
            reversal = expected.reversal
            theirs = (answer.reversed, answer.unrecovered, answer.expired)
            assert theirs == (reversal.reversed, reversal.unrecovered, reversal.expired), (
                self.told()
            )
        self.compare(answer.account)

    def _modelled(self, command: Command) -> tuple[Answer | None, str]:
        """The model's answer, or why there is none."""
        try:
            return self.model.do(command), ""
        except Refused as refused:
            return None, refused.reason

    def _ask(self, method: Any, request: Any) -> tuple[Any, str]:
        """The ledger's answer, or why there is none."""
        try:
            return self.ledger.call(method, request), ""
        except Refused as refused:
            return None, refused.reason

    def _note(self, op: Op | Lone, name: str, answer: Any) -> None:
        self.made[name] = answer.posting.posting
        if isinstance(op, Earn):
            self.earned.append(name)
        elif isinstance(op, Redeem | CaptureHold):
            self.spent.append(name)
        elif isinstance(op, CreateHold):
            self.held.append(name)

    def _request(self, op: Any, name: str, time: datetime) -> Any:
        fields: dict[str, Any] = {"request_id": name, "effective_time": stamp(time)}
        if isinstance(op, ReversePosting):
            fields |= {"posting": self.made[op.posting], "points": op.points}
        elif isinstance(op, CaptureHold):
            fields |= {"hold": self.made[op.hold], "points": op.points}
        elif isinstance(op, ReleaseHold):
            fields["hold"] = self.made[op.hold]
        else:
            fields |= {"member": self.dice.choice(self.names), "points": op.points}
        if isinstance(op, Earn):
            fields |= {"expiry": op.expiry, "mature_time": stamp(op.mature_time)}
        elif isinstance(op, Redeem | Adjust):
            fields["allow_partial"] = op.allow_partial
        elif isinstance(op, CreateHold):
            fields["expire_time"] = stamp(op.expire_time)
        if isinstance(op, Adjust):
            fields["reason"] = op.reason
        return getattr(ledger_pb2, f"{type(op).__name__}Request")(program=self.program, **fields)

    def compare(self, account: Any) -> None:
        """Both have the same."""
        if account is None:
            request = ledger_pb2.GetAccountRequest(program=self.program, member=self.names[0])
            account = self.ledger.call(self.ledger.ledger.GetAccount, request)
        one = self.model.accounts[ONE]
        mine = (
            self.model.available(one, "points"),
            self.model.pending(one, "points"),
            self.model.held(one, "points"),
            self.model.debt(one, "points"),
        )
        (balance,) = account.balances
        assert numbers(balance) == mine, self.told()

    def end(self) -> None:
        """Everything is taken back and given back, in any order: nothing is left."""
        rest: list[Lone] = [ReleaseHold(hold) for hold in self.held]
        rest += [ReversePosting(posting) for posting in (*self.earned, *self.spent)]
        self.dice.shuffle(rest)
        for number, op in enumerate(rest):
            self.do(op)
            if number % 9 == 0:
                self.merge()
        self.compare(None)
        for member in self.names:
            verify = ledger_pb2.VerifyAccountRequest(program=self.program, member=member)
            verified = self.ledger.call(self.ledger.ledger.VerifyAccount, verify)
            assert verified.ok, f"{verified.findings}\n{self.told()}"

    def told(self) -> str:
        """What was done, the latest last."""
        return f"{self.model.settings}\n" + "\n".join(self.story)


def walked(ledger: Ledger, seed: int) -> Walk:
    """One walk from the beginning to the end."""
    walk = Walk(ledger, seed)
    for _ in range(STEPS):
        walk.step()
    walk.end()
    return walk


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_whoever_was_merged_is_as_if_one_from_the_start(ledger: Ledger) -> None:
    """In every policy of returns, with time passing, expiry, grace and debt."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    merges = sum(walked(ledger, SEED + number).merges for number in range(WALKS))
    assert merges > WALKS

"""The whole ledger against the reference model: same answers, same refusals, in any order."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from loyalty.ledger.v1 import ledger_pb2
from tests.properties import generators as some
from tests.properties.agreement import (
    assert_follows_from_entries,
    assert_same_account,
    assert_same_answer,
    assert_same_history,
    assert_same_past,
    assert_same_refusal,
    without_lots,
)
from tests.properties.driver import Driver, Ledger
from tests.properties.effort import LONG, TIMEOUT_SECONDS, effort, seeded
from tests.properties.generators_lone import lone_operations
from tests.properties.messages import instant, window_message
from tests.properties.model import Program
from tests.properties.model_shapes import Account, Answer, Command, Refused, TransferPoints

# In the long profile, by several workers where pytest has them, so many steps in all.
SHARDS = 4 if LONG else 1
STEPS_LONG = 200_000
EVERY_HISTORY = 5 if LONG else 1


class Agreement(RuleBasedStateMachine):
    """Does everything twice: in the model, then in the ledger; each step by the next process."""

    driver: Driver
    model: Program
    steps_of_all = 0

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        super().__init__()
        self.ledgers = itertools.cycle(ledgers)
        self.ledger = next(self.ledgers)
        self.step = 0
        self.sent: list[Command] = []
        self.touched: set[str] = set()
        self.numbers = iter(range(10**6))

    @initialize(data=st.data(), start=st.sampled_from(some.STARTS))
    def begin(self, data: st.DataObject, start: datetime) -> None:
        drawn = data.draw(some.programs(start))
        self.model = Program(drawn, start)
        self.driver = Driver(self.ledger, f"p{uuid.uuid4().hex}", drawn, start)
        self.driver.reads_back = not LONG

    # Rules

    @rule(data=st.data(), several=some.rare, hesitant=some.rare)
    def command(self, data: st.DataObject, several: bool, hesitant: bool) -> None:
        self.send(self.draw(data, several), hesitant)

    @rule(data=st.data())
    def command_again(self, data: st.DataObject) -> None:
        self.send(self.draw(data, several=False))

    @rule(data=st.data(), hesitant=some.rare)
    def lone_command(self, data: st.DataObject, hesitant: bool) -> None:
        self.send(self.draw_lone(data), hesitant)

    @rule(data=st.data())
    def lone_command_again(self, data: st.DataObject) -> None:
        self.send(self.draw_lone(data))

    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        if not self.model.accounts:
            return
        member = data.draw(st.sampled_from(sorted(self.model.accounts)))
        back = data.draw(st.sampled_from((timedelta(0), *some.JUMPS)))
        times = [entry.effective_time for entry in self.model.accounts[member].entries]
        time = data.draw(st.sampled_from((self.model.now - back, *times[-3:])))
        assert_same_past(self.driver, self.model, member, time)

    @rule(data=st.data())
    def enrol(self, data: st.DataObject) -> None:
        new = [member for member in some.MEMBERS if member not in self.model.accounts]
        member = data.draw(st.sampled_from(new or some.MEMBERS[:1]))
        time = data.draw(some.effective_times(self.model.now))
        day = data.draw(st.sampled_from((0, 1, 15, 31)))
        self.send(Command(member, self.fresh_id(), (), effective_time=time, billing_day=day))

    @rule(data=st.data())
    def send_what_was_sent(self, data: st.DataObject) -> None:
        if not self.sent:
            return
        old = data.draw(st.sampled_from(self.sent))
        twist = data.draw(st.sampled_from(("same", "same", "other", "rehearsal", "stale")))
        if twist == "other":
            other = self.draw(data, several=False)
            old = replace(other, member=old.member, request_id=old.request_id)
        if twist == "rehearsal":
            old = replace(old, validate_only=True)
        if twist == "stale" and old.ops:
            old = replace(old, expected_version=10**6)
        self.send(old)

    @rule(data=st.data())
    def batch(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, 6))
        drawn = [self.draw(data, several=True) for _ in range(count)]
        # A rehearsal is asked for by the batch, not by its items.
        commands = [replace(command, validate_only=False) for command in drawn]
        if data.draw(st.booleans()):
            commands.append(data.draw(st.sampled_from(commands)))
        theirs = self.driver.batch(commands)
        for command, their in zip(commands, theirs, strict=True):
            self.compare(command, their, settles=False)
        for member in some.MEMBERS:
            self.model.settle(member)

    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        due = self.model.next_due()
        jumps = [self.model.now + jump for jump in some.JUMPS]
        if due is not None:
            jumps += [due, due, due - timedelta(microseconds=1), due + timedelta(microseconds=1)]
        time = max(data.draw(st.sampled_from(jumps)), self.model.now)
        ours = self.model.advance(time)

        # Accounts are found by a due time that may be earlier than the truth: more may be visited.
        assert self.driver.advance(time) >= ours
        self.touched = set(self.model.accounts)

    @rule(data=st.data())
    def configure(self, data: st.DataObject) -> None:
        drawn = data.draw(some.reconfigured(self.model.settings))
        self.driver.configure(drawn)
        self.model.settings = drawn

    @rule(data=st.data())
    def read_counters(self, data: st.DataObject) -> None:
        windows = data.draw(st.lists(some.windows(self.model.now), min_size=1, max_size=5))
        for member, account in self.model.accounts.items():
            shown = self.driver.account(member, windows)
            expected = [self.model.counter(account, window) for window in windows]

            assert [counter.value for counter in shown.counters] == expected
        request = ledger_pb2.BatchGetAccountsRequest(
            program=self.driver.program,
            members=some.MEMBERS,
            windows=[window_message(window) for window in windows],
        )
        together = self.ledger.call(self.ledger.ledger.BatchGetAccounts, request)
        known = [member for member in some.MEMBERS if member in self.model.accounts]
        assert list(together.accounts) == [self.driver.account(who, windows) for who in known]
        assert list(together.missing) == [who for who in some.MEMBERS if who not in known]

    # What holds after each step

    @invariant()
    def agree(self) -> None:
        self.step += 1
        Agreement.steps_of_all += 1
        if not hasattr(self, "driver"):
            return
        self.ledger = self.driver.ledger = next(self.ledgers)
        for member in sorted(self.touched):
            self.look_at(member, whole=self.step % EVERY_HISTORY == 0)
        self.touched = set()

    def look_at(self, member: str, *, whole: bool) -> None:
        account = self.model.accounts.get(member)
        if account is None:
            with pytest.raises(Refused, match="MEMBER_NOT_FOUND"):
                self.driver.account(member)
            return
        assert_same_account(self.driver.account(member), self.model, account)
        if whole:
            size = (1000, 7, 2)[len(account.entries) % 3]
            assert_same_history(self.driver, self.model, account, size)
            assert self.driver.verified(member) == []

    def teardown(self) -> None:
        if hasattr(self, "model"):
            for member in self.model.accounts:
                self.look_at(member, whole=True)
                assert_follows_from_entries(self.driver, member)

    # How

    def fresh_id(self) -> str:
        return f"r{next(self.numbers)}"

    def draw(self, data: st.DataObject, several: bool) -> Command:
        now = self.model.now
        count = data.draw(st.integers(1, 4)) if several else 1
        command = Command(
            data.draw(st.sampled_from(some.MEMBERS)),
            self.fresh_id(),
            tuple(data.draw(some.operations(now)) for _ in range(count)),
            single=not several,
            effective_time=data.draw(some.effective_times(now)),
            validate_only=data.draw(some.rare),
            reference=data.draw(st.sampled_from(("", "order 4711"))),
        )
        if data.draw(some.rare):
            return self.with_preconditions(data, command)
        return command

    def draw_lone(self, data: st.DataObject) -> Command:
        now = self.model.now
        member = data.draw(st.sampled_from(sorted(self.model.accounts) or some.MEMBERS))
        account = self.model.accounts.get(member) or Account(member, now)
        command = Command(
            member,
            self.fresh_id(),
            (data.draw(lone_operations(self.model, account)),),
            single=True,
            effective_time=data.draw(some.effective_times(now)),
            validate_only=data.draw(some.rare),
        )
        if data.draw(some.rare):
            return self.with_preconditions(data, command)
        return command

    def with_preconditions(self, data: st.DataObject, command: Command) -> Command:
        account = self.model.accounts.get(command.member)
        version = account.version if account else 0
        wrong = data.draw(some.rare)
        if data.draw(st.booleans()):
            return replace(command, expected_version=version + wrong)
        window = data.draw(some.windows(self.model.now))
        value = self.model.counter(account, window) if account else 0
        return replace(command, expect=((window, value + wrong),))

    def send(self, command: Command, rehearse_first: bool = False) -> None:
        if rehearse_first:
            self.send(replace(command, validate_only=True))
        their: Answer | Refused
        try:
            their, shown = self.driver.do(command)
        except Refused as refused:
            their = refused
        else:
            assert shown.member == command.member
            assert instant(shown.read_time) == self.model.now
        self.compare(command, their)
        account = self.model.accounts.get(command.member)
        if account and isinstance(their, Answer) and not command.validate_only:
            # What is to be told from now on is told by whoever looks next.
            told = account.copy()
            while not their.replayed and told.entries[-1].kind == "EXPIRY_NOTICED":
                told.entries.pop()
            assert_same_account(shown, self.model, told)

    def decide(self, command: Command, *, settles: bool) -> Answer | Refused:
        try:
            return self.model.do(command, settles=settles)
        except Refused as refused:
            return refused

    def compare(self, command: Command, their: Answer | Refused, *, settles: bool = True) -> None:
        self.touched.add(command.member)
        self.touched |= {op.recipient for op in command.ops if isinstance(op, TransferPoints)}
        self.sent.append(command)
        ours = self.decide(command, settles=settles)
        if isinstance(ours, Refused):
            assert isinstance(their, Refused), (ours, their)
            assert_same_refusal(their, ours)
            return
        if isinstance(their, Refused):
            raise their
        if not command.single:
            ours = replace(ours, value=None)
        if command.validate_only and not ours.replayed:
            ours, their = without_lots(ours), without_lots(their)
        assert_same_answer(their, ours)


def run_agreement(ledgers: Sequence[Ledger], shard: int, profile: settings) -> None:
    """Lets the two be compared, and says in how many steps."""

    class Here(Agreement):
        def __init__(self) -> None:
            super().__init__(ledgers)

    before = Agreement.steps_of_all
    run_state_machine_as_test(seeded(Here, shard), settings=profile)
    print(f"{Agreement.steps_of_all - before} steps of shard {shard}")


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_ledger_agrees_with_the_model(ledger: Ledger, shard: int) -> None:
    """Commands, replays, batches, rehearsals, settings and time, in any order."""
    before = Agreement.steps_of_all

    # Of an example a step is its beginning, and some end before their last step.
    run_agreement([ledger], shard, effort(examples=40, steps=30, longer=50))

    assert Agreement.steps_of_all - before >= STEPS_LONG // SHARDS or not LONG


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_three_ledgers_agree_with_the_model(three: list[Ledger]) -> None:
    """Three processes over one database are one, whichever of them is asked."""
    run_agreement(three, SHARDS, effort(examples=8, steps=30, longer=10))

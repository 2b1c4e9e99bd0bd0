"""A walk of the ledger beside the reference model: what is drawn, done at both, and compared.

A step is drawn as a plain value that says all there is to it, so that a walk can be done again,
also without some of its steps.
"""

import itertools
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from loyalty.ledger.v1 import resources_pb2
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
from tests.properties.chance import Chance
from tests.properties.driver import Driver, Ledger
from tests.properties.generators_lone import affordable, lone_operations
from tests.properties.messages import instant
from tests.properties.model import Program
from tests.properties.model_shapes import (
    Account,
    Answer,
    Command,
    Op,
    Redeem,
    Refused,
    Settings,
    TransferPoints,
    Window,
)

PAGES = (1000, 7, 2)


@dataclass(frozen=True)
class Send:
    """A command; `hesitant` where it is rehearsed first."""

    command: Command
    hesitant: bool = False


@dataclass(frozen=True)
class Batch:
    """Several posts at once."""

    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Advance:
    """Both clocks move, never back."""

    time: datetime


@dataclass(frozen=True)
class Configure:
    """Other settings from now on."""

    settings: Settings


@dataclass(frozen=True)
class LookBack:
    """What a member had as of an instant."""

    member: str
    time: datetime


@dataclass(frozen=True)
class Count:
    """What counters of all members say."""

    windows: tuple[Window, ...]


Step = Send | Batch | Advance | Configure | LookBack | Count


class Drawing:
    """Draws the steps of a walk, knowing what the model knows."""

    def __init__(self, model: Program) -> None:
        self.model = model
        self.sent: list[Command] = []
        self._numbers = itertools.count()

    def step(self, chance: Chance) -> Step:
        """Any step."""
        kind = chance.number(0, 10)
        if kind < 2:
            return Send(self.command(chance, kind == 0 and chance.rare()), chance.rare())
        if kind < 4:
            return Send(self.lone_command(chance), chance.rare())
        if kind == 4 and self.sent:
            return Send(self.again(chance))
        if kind == 5:
            return self.batch(chance)
        if kind == 6:
            return self.advance(chance)
        if kind == 7:
            return Configure(some.reconfigured(chance, self.model.settings))
        if kind == 8 and self.model.accounts:
            return self.look_back(chance)
        if kind == 9:
            return self.count(chance)
        if len(self.model.accounts) == len(some.MEMBERS) and not chance.rare():
            return Send(self.command(chance, several=False))
        return Send(self.enrolment(chance))

    def command(self, chance: Chance, several: bool) -> Command:
        """A command of one operation or of several."""
        now = self.model.now
        member = chance.pick(some.MEMBERS)
        count = chance.number(1, 4) if several else 1
        command = Command(
            member,
            self._fresh_id(),
            tuple(self._operation(chance, member) for _ in range(count)),
            single=not several,
            effective_time=some.effective_times(chance, now),
            validate_only=chance.rare(),
            reference=chance.pick(("", "order 4711")),
        )
        return self._with_preconditions(chance, command) if chance.rare() else command

    def _operation(self, chance: Chance, member: str) -> Op:
        op = some.operations(chance, self.model.now)
        account = self.model.accounts.get(member)
        if account is None or not isinstance(op, Redeem):
            return op
        return Redeem(*affordable(chance, self.model, account), op.allow_partial)

    def lone_command(self, chance: Chance) -> Command:
        """A command that is never part of a post."""
        now = self.model.now
        member = chance.pick(sorted(self.model.accounts) or some.MEMBERS)
        account = self.model.accounts.get(member) or Account(member, now)
        command = Command(
            member,
            self._fresh_id(),
            (lone_operations(chance, self.model, account),),
            single=True,
            effective_time=some.effective_times(chance, now),
            validate_only=chance.rare(),
        )
        return self._with_preconditions(chance, command) if chance.rare() else command

    def enrolment(self, chance: Chance) -> Command:
        """Of a new member, where there is one."""
        new = [member for member in some.MEMBERS if member not in self.model.accounts]
        member = chance.pick(new or some.MEMBERS[:1])
        time = some.effective_times(chance, self.model.now)
        day = chance.pick((0, 1, 15, 31))
        return Command(member, self._fresh_id(), (), effective_time=time, billing_day=day)

    def again(self, chance: Chance) -> Command:
        """What was sent, as it was or nearly so."""
        old = chance.pick(self.sent)
        twist = chance.pick(("same", "same", "other", "rehearsal", "stale"))
        if twist == "other":
            other = self.command(chance, several=False)
            old = replace(other, member=old.member, request_id=old.request_id)
        if twist == "rehearsal":
            old = replace(old, validate_only=True)
        if twist == "stale" and old.ops:
            old = replace(old, expected_version=10**6)
        return old

    def batch(self, chance: Chance) -> Batch:
        """Posts, now and then one of them twice."""
        drawn = [self.command(chance, several=True) for _ in range(chance.number(1, 6))]
        # A rehearsal is asked for by the batch, not by its items.
        commands = [replace(command, validate_only=False) for command in drawn]
        if chance.coin():
            commands.append(chance.pick(commands))
        return Batch(tuple(commands))

    def advance(self, chance: Chance) -> Advance:
        """Some time, or to where something is due."""
        due = self.model.next_due()
        # The longest leaves little alive.
        jumps = [self.model.now + jump for jump in some.JUMPS[: -1 if chance.coin() else None]]
        if due is not None:
            jumps += [due, due, due - timedelta(microseconds=1), due + timedelta(microseconds=1)]
        return Advance(chance.pick(jumps))

    def look_back(self, chance: Chance) -> LookBack:
        """To an instant in which something happened, or any."""
        member = chance.pick(sorted(self.model.accounts))
        back = chance.pick((timedelta(0), *some.JUMPS))
        times = [entry.effective_time for entry in self.model.accounts[member].entries]
        return LookBack(member, chance.pick((self.model.now - back, *times[-3:])))

    def count(self, chance: Chance) -> Count:
        """Some windows."""
        many = range(chance.number(1, 5))
        return Count(tuple(some.windows(chance, self.model.now) for _ in many))

    def _with_preconditions(self, chance: Chance, command: Command) -> Command:
        account = self.model.accounts.get(command.member)
        version = account.version if account else 0
        wrong = chance.rare()
        if chance.coin():
            return replace(command, expected_version=version + wrong)
        window = some.windows(chance, self.model.now)
        value = self.model.counter(account, window) if account else 0
        return replace(command, expect=((window, value + wrong),))

    def _fresh_id(self) -> str:
        return f"r{next(self._numbers)}"


class Walk:
    """Does each step twice, in the model and in a ledger; each by the next process."""

    def __init__(
        self,
        ledgers: Sequence[Ledger],
        settings: Settings,
        start: datetime,
        *,
        every_history: int = 1,
    ) -> None:
        self._ledgers = itertools.cycle(ledgers)
        self.model = Program(settings, start)
        self.drawing = Drawing(self.model)
        self.driver = Driver(next(self._ledgers), f"p{uuid.uuid4().hex}", settings, start)
        # Where histories are looked at now and then only, postings are as well.
        self.driver.reads_back = every_history == 1
        self._every_history = every_history
        self._steps = 0
        # Whose balances may be others than when they were last seen, and whose histories may.
        self._touched: set[str] = set()
        self._unread: set[str] = set()
        self._shown: dict[str, resources_pb2.Account] = {}

    def do(self, step: Step) -> None:
        """Does a step; what both say of it is the same, and what both have afterwards."""
        if isinstance(step, Send):
            self._send(step)
        elif isinstance(step, Batch):
            self._batch(step.commands)
        elif isinstance(step, Advance):
            self._advance(step.time)
        elif isinstance(step, Configure):
            self.driver.configure(step.settings)
            self.model.settings = step.settings
        elif isinstance(step, LookBack):
            if step.member in self.model.accounts:
                time = min(step.time, self.model.now)
                assert_same_past(self.driver, self.model, step.member, time)
        else:
            self._count(step.windows)
        self._steps += 1
        self.driver.ledger = next(self._ledgers)
        self._look()
        if self._steps % self._every_history == 0:
            self._read(self._unread)
            self._unread = set()

    def finish(self) -> None:
        """Everything there is to read, of everybody; in pages of all sizes."""
        self._read(self.model.accounts)
        for number, account in enumerate(self.model.accounts.values()):
            if self._every_history > 1:
                size = PAGES[1 + (number + self._steps) % 2]
                assert_same_history(self.driver, self.model, account, size)
            assert_follows_from_entries(self.driver, account.member)

    def _send(self, step: Send) -> None:
        if step.hesitant:
            self._send(Send(replace(step.command, validate_only=True)))
        command = step.command
        their: Answer | Refused
        try:
            their, shown = self.driver.do(command)
        except Refused as refused:
            their = refused
        else:
            assert shown.member == command.member
            assert instant(shown.read_time) == self.model.now
        self._compare(command, their)
        account = self.model.accounts.get(command.member)
        if account and isinstance(their, Answer) and not command.validate_only:
            # What is to be told from now on is told by whoever looks next.
            told = account.copy()
            while not their.replayed and told.entries[-1].kind == "EXPIRY_NOTICED":
                told.entries.pop()
            assert_same_account(shown, self.model, told)

    def _batch(self, commands: Sequence[Command]) -> None:
        theirs = self.driver.batch(commands)
        for command, their in zip(commands, theirs, strict=True):
            self._compare(command, their, settles=False)
        for member in some.MEMBERS:
            self.model.settle(member)

    def _advance(self, time: datetime) -> None:
        time = max(time, self.model.now)
        ours = self.model.advance(time)
        # Accounts are found by a due time that may be earlier than the truth: more may be visited.
        assert self.driver.advance(time) >= ours
        self._touched = set(self.model.accounts)

    def _count(self, windows: Sequence[Window]) -> None:
        together = {shown.member: shown for shown in self.driver.accounts(some.MEMBERS, windows)}
        assert list(together) == [who for who in some.MEMBERS if who in self.model.accounts]
        for member, account in self.model.accounts.items():
            shown = self.driver.account(member, windows)
            expected = [self.model.counter(account, window) for window in windows]

            assert [counter.value for counter in shown.counters] == expected
            assert shown == together[member]

    def _compare(self, command: Command, their: Answer | Refused, *, settles: bool = True) -> None:
        self._touched.add(command.member)
        self._touched |= {op.recipient for op in command.ops if isinstance(op, TransferPoints)}
        self.drawing.sent.append(command)
        ours: Answer | Refused
        try:
            ours = self.model.do(command, settles=settles)
        except Refused as refused:
            ours = refused
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

    def _look(self) -> None:
        """At what everybody has; who was not touched has what it had."""
        found = {shown.member: shown for shown in self.driver.accounts(some.MEMBERS)}
        assert list(found) == [who for who in some.MEMBERS if who in self.model.accounts]
        for member, shown in found.items():
            if member in self._touched:
                assert_same_account(shown, self.model, self.model.accounts[member])
            else:
                before = self._shown[member]
                before.read_time.CopyFrom(shown.read_time)
                assert shown == before, (shown, before)
        for member in self._touched - found.keys():
            with pytest.raises(Refused, match="MEMBER_NOT_FOUND"):
                self.driver.account(member)
        self._shown = found
        self._unread |= self._touched & found.keys()
        self._touched = set()

    def _read(self, members: Iterable[str]) -> None:
        for member in sorted(members):
            account = self.model.accounts[member]
            size = PAGES[len(account.entries) % 3] if self._every_history == 1 else PAGES[0]
            assert_same_history(self.driver, self.model, account, size)
            assert self.driver.verified(member) == []

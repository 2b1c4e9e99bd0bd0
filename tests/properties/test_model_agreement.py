"""The whole ledger against the reference model: same answers, same refusals, in any order.

Dice draw most of it: walks side by side are many times as fast as what hypothesis draws, through
the same generators.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.properties import generators as some
from tests.properties.chance import Chance, Drawn
from tests.properties.driver import Ledger
from tests.properties.effort import LONG, SEED, TIMEOUT_SECONDS, effort, seeded
from tests.properties.model_shapes import Command
from tests.properties.walk import Configure, Drawing, Send, Step, Walk
from tests.properties.walks import Walks

# In the long profile, by several workers where pytest has them, so many steps in all.
SHARDS = 4 if LONG else 1
STEPS = 200_000 if LONG else 2_000
STEPS_OF_THREE = 4_000 if LONG else 400
# Seeds of walks are numbered on from that of their shard.
APART = 10**6
LOG = os.environ.get("LOYALTY_STEPS_LOG", "")


class Agreement(RuleBasedStateMachine):
    """A walk whose steps hypothesis draws, each kind as a rule of its own."""

    walk: Walk
    steps_of_all = 0

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        super().__init__()
        self.ledgers = ledgers

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        chance = Drawn(data.draw)
        start = chance.pick(some.STARTS)
        self.walk = Walk(self.ledgers, some.programs(chance, start), start)

    @rule(data=st.data())
    def command(self, data: st.DataObject) -> None:
        self.send(data, lambda drawing, chance: drawing.command(chance, several=chance.rare()))

    @rule(data=st.data())
    def command_again(self, data: st.DataObject) -> None:
        self.send(data, lambda drawing, chance: drawing.command(chance, several=False))

    @rule(data=st.data())
    def lone_command(self, data: st.DataObject) -> None:
        self.send(data, Drawing.lone_command)

    @rule(data=st.data())
    def lone_command_again(self, data: st.DataObject) -> None:
        self.send(data, Drawing.lone_command)

    @rule(data=st.data())
    def enrol(self, data: st.DataObject) -> None:
        self.send(data, Drawing.enrolment)

    @rule(data=st.data())
    def send_what_was_sent(self, data: st.DataObject) -> None:
        if self.walk.drawing.sent:
            self.send(data, Drawing.again)

    @rule(data=st.data())
    def batch(self, data: st.DataObject) -> None:
        self.do(data, Drawing.batch)

    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        self.do(data, Drawing.advance)

    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        if self.walk.model.accounts:
            self.do(data, Drawing.look_back)

    @rule(data=st.data())
    def configure(self, data: st.DataObject) -> None:
        now = self.walk.model.settings
        self.do(data, lambda _, chance: Configure(some.reconfigured(chance, now)))

    @rule(data=st.data())
    def read_counters(self, data: st.DataObject) -> None:
        self.do(data, Drawing.count)

    def teardown(self) -> None:
        if hasattr(self, "walk"):
            self.walk.finish()

    def send(self, data: st.DataObject, draw: Callable[[Drawing, Chance], Command]) -> None:
        self.do(data, lambda drawing, chance: Send(draw(drawing, chance), chance.rare()))

    def do(self, data: st.DataObject, draw: Callable[[Drawing, Chance], Step]) -> None:
        Agreement.steps_of_all += 1
        self.walk.do(draw(self.walk.drawing, Drawn(data.draw)))


def say(text: str) -> None:
    """Says how far it is, also where `LOYALTY_STEPS_LOG` names a file."""
    print(text)
    if LOG:
        with Path(LOG).open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def agree(ledgers: Sequence[Ledger], shard: int, steps: int) -> None:
    """Lets the two be compared for so many steps, which dice draw."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    walks = Walks(ledgers, SEED + shard * APART, steps)
    walks.run(lambda text: say(f"shard {shard}: {text}"))
    assert not walks.failures, "\n\n".join(walks.failures)
    assert walks.steps >= steps


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_ledger_agrees_with_the_model(ledger: Ledger, shard: int) -> None:
    """Commands, replays, batches, rehearsals, settings and time, in any order."""
    agree([ledger], shard, STEPS // SHARDS)


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_three_ledgers_agree_with_the_model(three: list[Ledger]) -> None:
    """Three processes over one database are one, whichever of them is asked."""
    agree(three, SHARDS, STEPS_OF_THREE)


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_hypothesis_draws_agrees_with_the_model(ledger: Ledger) -> None:
    """Everything there is to read is compared after every step; what fails is made small."""

    class Here(Agreement):
        def __init__(self) -> None:
            super().__init__([ledger])

    before = Agreement.steps_of_all
    run_state_machine_as_test(seeded(Here), settings=effort(examples=10, steps=30))
    say(f"{Agreement.steps_of_all - before} steps that hypothesis drew")

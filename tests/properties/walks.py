"""Many walks side by side, each with dice of its own; of those that fail, the steps that matter."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime

import grpc

from tests.properties import generators as some
from tests.properties.chance import Dice
from tests.properties.driver import Ledger
from tests.properties.model_shapes import Refused, Settings
from tests.properties.walk import Step, Walk

# So many at once keep the ledger busy.
ABREAST = 12
LENGTHS = (20, 40, 60, 120)
EVERY_HISTORY = 20
SECONDS_TO_SHRINK = 120
SAY_EVERY = 1000
FAILURES_SHOWN = 3
FAILURES = (AssertionError, Refused, grpc.RpcError, LookupError)


@dataclass
class Plan:
    """All that a walk did, and how often histories were looked at."""

    settings: Settings
    start: datetime
    steps: list[Step]
    every_history: int = EVERY_HISTORY

    def fails(self, ledgers: Sequence[Ledger]) -> str | None:
        """What goes wrong when it is done again, in a program of its own."""
        walk = Walk(ledgers, self.settings, self.start, every_history=self.every_history)
        try:
            for step in self.steps:
                walk.do(step)
            walk.finish()
        except FAILURES as failure:
            return repr(failure)
        return None


class Walks:
    """Walks until so many steps are done, or several have failed."""

    def __init__(self, ledgers: Sequence[Ledger], seed: int, steps: int) -> None:
        self._ledgers, self._seed, self._wanted = ledgers, seed, steps
        self.steps = self.walks = 0
        self.failures: list[str] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def run(self, say: Callable[[str], None]) -> None:
        """Says how far it is now and then, and what a failure came to, made small."""
        with ThreadPoolExecutor(ABREAST) as pool:
            walkers = [pool.submit(self._walker, say) for _ in range(ABREAST)]
            for walker in as_completed(walkers):
                walker.result()

    def _walker(self, say: Callable[[str], None]) -> None:
        while len(self.failures) < FAILURES_SHOWN and self.steps < self._wanted:
            with self._lock:
                number, self.walks = self.walks, self.walks + 1
            done = self._walk(self._seed + number, say)
            with self._lock:
                before, self.steps = self.steps, self.steps + done
                if before // SAY_EVERY != self.steps // SAY_EVERY:
                    seconds = time.monotonic() - self._began
                    say(f"{self.steps} steps of {self.walks} walks in {seconds:.0f} s")

    def _walk(self, seed: int, say: Callable[[str], None]) -> int:
        dice = Dice(seed)
        start = dice.pick(some.STARTS)
        plan = Plan(some.programs(dice, start), start, [])
        try:
            walk = Walk(self._ledgers, plan.settings, start, every_history=EVERY_HISTORY)
            for _ in range(dice.pick(LENGTHS)):
                plan.steps.append(walk.drawing.step(dice))
                walk.do(plan.steps[-1])
            walk.finish()
        except FAILURES as failure:
            say(f"LOYALTY_TEST_SEED={seed} shows: {failure!r}")
            small, said = smaller(plan, lambda each: each.fails(self._ledgers))
            self.failures.append(report(seed, small, said, failure))
            say(self.failures[-1])
        return len(plan.steps)


def report(seed: int, plan: Plan, said: str | None, failure: BaseException) -> str:
    """What a failure was, and how to see it again."""
    steps = "\n".join(f"  {brief(step)}" for step in plan.steps)
    return (
        f"LOYALTY_TEST_SEED={seed} (of a walk)\n"
        f"as it was found: {failure!r}\n"
        f"made small: {said or 'it did not fail again'}\n"
        f"from {plan.start} with {brief(plan.settings)}\n{steps}"
    )


def brief(value: object) -> str:
    """A value without those of its fields that are as they are mostly."""
    if isinstance(value, tuple):
        return f"({', '.join(brief(each) for each in value)})"
    if isinstance(value, datetime):
        return str(value)
    if not is_dataclass(value):
        return repr(value)
    shown = [
        f"{field.name}={brief(getattr(value, field.name))}"
        for field in fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


def smaller(
    plan: Plan, fails: Callable[[Plan], str | None], seconds: float = SECONDS_TO_SHRINK
) -> tuple[Plan, str | None]:
    """The plan without steps that it fails without, as far as the time goes."""
    deadline = time.monotonic() + seconds
    said = fails(plan)
    if said is None:
        return plan, None
    # With all there is to read after each step it may fail sooner.
    closely = Plan(plan.settings, plan.start, plan.steps, every_history=1)
    if found := fails(closely):
        plan, said = closely, found
    size = len(plan.steps) // 2
    while size and time.monotonic() < deadline:
        first = 0
        while first < len(plan.steps) and time.monotonic() < deadline:
            steps = plan.steps[:first] + plan.steps[first + size :]
            tried = Plan(plan.settings, plan.start, steps, plan.every_history)
            if found := fails(tried):
                plan, said = tried, found
            else:
                first += size
        size //= 2
    return plan, said

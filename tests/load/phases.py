"""Measurements with a book of their own: what falls due, and how a book's size tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.load.book import Book, load
from tests.load.rows import (
    AFTER_CHECKPOINT,
    EXPIRY,
    EXPIRY_OF_ONE,
    LARGE,
    SMALL,
    Figure,
    Measurement,
    Outcome,
)
from tests.load.stage import Server, Stage, say

if TYPE_CHECKING:
    from tests.load.bench import Bench

DUE = "due"
LOTS_OF_AN_ACCOUNT = 10
POLL_S = 0.5
MEETINGS_MAX = 12
UNMET = 0.005
"""So many of the members may not have earned yet when it is measured."""
THIRDS = 3


@dataclass(frozen=True)
class Sizes:
    """How large the books are. `expiry_seconds` is the most that each expiry may take."""

    due: int
    due_of_one: int
    expiry_seconds: float
    small: int
    large: int
    growing_members: int


FULL = Sizes(1_000_000, 200_000, 75.0, 100_000, 10_000_000, 20_000)
QUICK = Sizes(50_000, 10_000, 15.0, 10_000, 200_000, 2_000)


@dataclass(frozen=True)
class _Sample:
    moment: float
    left: int
    memory: int
    cpu: float
    postgres_cpu: float


def expire(stage: Stage, outcome: Outcome, sizes: Sizes) -> None:
    """Measure the job that posts what fell due, with many lots an account and with one."""
    for name, lots, each in (
        (EXPIRY, sizes.due, LOTS_OF_AN_ACCOUNT),
        (EXPIRY_OF_ONE, sizes.due_of_one, 1),
    ):
        fill = partial(load, stage.psql, DUE, Book(lots // each, each, due=True))
        with stage.another(DUE, fill) as server:
            samples = _watch(stage, server, sizes.expiry_seconds)
        outcome.figures[name] = _thirds(samples, each)
        outcome.sizes[name] = f"{lots:,} lots due, {each} an account"
        rates = " ".join(f"{figure.rate:,.0f}" for figure in outcome.figures[name])
        say(f"{name:18} {rates} lots/s")


def grow(stage: Stage, outcome: Outcome, sizes: Sizes, bench: Bench, rounds: int) -> None:
    """Measure earning in a small book and in a large one, in turn.

    The first change of a page after a checkpoint writes the whole page to the log: that is over for
    both when they are compared, and measured by itself afterwards.
    """
    members = sizes.growing_members
    earn = Measurement(SMALL, "ledger", "Earn", 128)
    with ExitStack() as stack:
        servers = {}
        for name, entries in ((SMALL, sizes.small), (LARGE, sizes.large)):
            began, database = time.monotonic(), name.replace(" ", "_")
            fill = partial(load, stage.psql, database, Book(members, entries // members))
            servers[name] = stack.enter_context(stage.another(database, fill))
            outcome.sizes[name] = f"{entries:,} entries of {members:,} members"
            say(f"{entries:,} entries after {time.monotonic() - began:.0f} s")
        # Filling ends with a checkpoint, so that nobody was met in either.
        for name, server in servers.items():
            _meet(stage, bench, server, members, name.replace(" ", "_"))
        for _ in range(rounds):
            for name, server in servers.items():
                _note(outcome, name, bench.load(earn, server, members))
        for _ in range(rounds):
            stage.psql("CHECKPOINT")
            _note(outcome, AFTER_CHECKPOINT, bench.load(earn, servers[LARGE], members))


def _note(outcome: Outcome, name: str, figure: Figure) -> None:
    outcome.figures.setdefault(name, []).append(figure)
    say(f"{name:18} {figure.rate:9,.0f}/s")


def _meet(stage: Stage, bench: Bench, server: Server, members: int, database: str) -> None:
    """Have nearly every member of a book earn, whoever comes."""
    batches = Measurement(database, "ledger", "BatchPost", 8)
    before = stage.psql("SELECT min(version) FROM account", database)
    unmet = f"SELECT count(*) FROM account WHERE version = {before}"
    for _ in range(MEETINGS_MAX):
        bench.load(batches, server, members)
        if int(stage.psql(unmet, database)) <= members * UNMET:
            return
    say(f"{database}: {stage.psql(unmet, database)} members have not earned yet")


def _watch(stage: Stage, server: Server, seconds: float) -> list[_Sample]:
    """What is left to settle, and what it takes, until all is settled or time is up."""
    samples: list[_Sample] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        left = int(stage.psql("SELECT count(*) FROM account WHERE next_due_time <= now()", DUE))
        samples.append(
            _Sample(time.monotonic(), left, server.memory(), server.cpu_s(), stage.postgres_cpu_s())
        )
        if not left:
            break
        time.sleep(POLL_S)
    # The last one may lie long after the end.
    return samples[:-1] if len(samples) > THIRDS + 1 and not samples[-1].left else samples


def _thirds(samples: Sequence[_Sample], each: int) -> list[Figure]:
    """The figures of the thirds of a run."""
    figures = []
    steps = max(1, (len(samples) - 1) // THIRDS)
    for place in range(0, min(THIRDS * steps, len(samples) - 1), steps):
        first, last = samples[place], samples[place + steps]
        lots = max(1, (first.left - last.left) * each)
        figures.append(
            Figure(
                rate=lots / (last.moment - first.moment),
                server_cpu=(last.cpu - first.cpu) / lots,
                postgres_cpu=(last.postgres_cpu - first.postgres_cpu) / lots,
                memory=last.memory,
            )
        )
    return figures

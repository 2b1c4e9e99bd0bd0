"""Letting what arrives together be done together.

A call alone never waits for a clock. Where many callers were served together last time, their next
calls are on their way while the transport still hands them over one by one, and a statement or a
transaction costs as much for a few as for many: then it waits for them for a moment.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

# Turns of the event loop. Of many commands that arrive together the first would otherwise have a
# statement or a transaction of its own, and the others would wait for it.
PATIENCE = 3
TURNS_MAX = 100

CROWD = 8
"""So many callers at once are a crowd."""

ENOUGH = 32
"""So many callers share what a transaction costs: nobody is waited for any more."""

QUIET_S = 0.001
QUIETS_MAX = 12


@dataclass(slots=True)
class Arrivals:
    """How many calls came so far, for all queues that the same callers fill."""

    count: int = 0


async def gathered(
    waiting: Callable[[], int],
    most: int,
    callers: Callable[[], int],
    before: int,
    arrivals: Arrivals,
) -> None:
    """Return when nothing more comes, or `most` wait.

    `callers` is how many callers those who wait are, and `before` how many there were last time.
    """
    patience = PATIENCE
    for _ in range(TURNS_MAX):
        seen = waiting()
        await asyncio.sleep(0)
        if seen >= most:
            return
        patience = PATIENCE if waiting() > seen else patience - 1
        if not patience:
            break
    if before < CROWD:
        return
    for _ in range(QUIETS_MAX):
        if callers() >= ENOUGH or waiting() >= most:
            return
        seen = arrivals.count
        await asyncio.sleep(QUIET_S)
        if arrivals.count == seen:
            return

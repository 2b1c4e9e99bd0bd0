"""Letting what arrives together be done together.

A call alone never waits for a clock. Where many callers are being served, or were a moment ago,
their next calls are on their way while the transport still hands them over one by one, and a
statement or a transaction costs as much for a few as for many: then it waits for them for a moment.
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
WAIT_S_MAX = 0.012


@dataclass(slots=True)
class Arrivals:
    """How many calls came so far and how many of them are not answered yet.

    One for all queues that the same callers fill.
    """

    count: int = 0
    under_way: int = 0


@dataclass(slots=True)
class Crowd:
    """How many callers were served together lately; who leaves is forgotten in a few turns."""

    callers: int = 0

    def served(self, callers: int) -> None:
        """So many were served together."""
        self.callers = max(callers, self.callers // 2)


async def gathered(
    waiting: Callable[[], int],
    most: int,
    callers: Callable[[], int],
    crowd: Crowd,
    arrivals: Arrivals,
) -> None:
    """Return when nothing more comes, or `most` wait. `callers` is how many callers those are."""
    patience = PATIENCE
    for _ in range(TURNS_MAX):
        seen = waiting()
        await asyncio.sleep(0)
        if seen >= most:
            return
        patience = PATIENCE if waiting() > seen else patience - 1
        if not patience:
            break
    # Those whom another transaction serves just now come back soon, too.
    if max(crowd.callers, arrivals.under_way) < CROWD:
        return
    time = asyncio.get_running_loop().time
    until = time() + WAIT_S_MAX
    while callers() < ENOUGH and waiting() < most:
        seen, began = arrivals.count, time()
        await asyncio.sleep(QUIET_S)
        now = time()
        if now >= until:
            return
        # A loop that was busy for longer has not looked yet at what came meanwhile.
        if arrivals.count == seen and now - began < 2 * QUIET_S:
            return

"""Letting what arrives together be done together, without a timer."""

import asyncio
from collections.abc import Callable

# Turns of the event loop. Of many commands that arrive together the first would otherwise have a
# statement or a transaction of its own, and the others would wait for it.
PATIENCE = 3
TURNS_MAX = 100


async def gathered(waiting: Callable[[], int], most: int) -> None:
    """Return when nothing more came in the last turns, or `most` wait; an idle process is quick."""
    patience = PATIENCE
    for _ in range(TURNS_MAX):
        before = waiting()
        await asyncio.sleep(0)
        patience = PATIENCE if waiting() > before else patience - 1
        if not patience or before >= most:
            return

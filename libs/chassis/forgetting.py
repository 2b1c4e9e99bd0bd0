"""Forgetting who was erased, once everybody who follows a stream had the time to learn it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NoReturn

from chassis.logs import logger

PAUSES_S = (60.0, 3600.0)
"""At least, and at most, between two looks."""


async def run(forget: Callable[[timedelta], Awaitable[int]], days: float) -> NoReturn:
    """Have `forget` forget whom it published longer ago than that, for ever.

    It answers how many they were. Nothing that fails stops it: the next round may succeed.
    """
    log = logger("forgetting")
    kept = timedelta(days=days)
    shortest, longest = PAUSES_S
    while True:
        try:
            forgotten = await forget(kept)
            if forgotten:
                log.info("who was erased is forgotten", members=forgotten)
        except Exception as error:  # noqa: BLE001 - tried again
            log.warning("forgetting is tried again", error=type(error).__name__)
        await asyncio.sleep(min(longest, max(shortest, kept.total_seconds() / 10)))

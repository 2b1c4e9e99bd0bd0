"""Forgetting who was erased, once everybody who follows the stream had the time to learn it."""

import asyncio
from datetime import timedelta

import structlog

from services.ledger.operations.context import ProgramContext
from services.ledger.operations.erase_member import forget_erasures

PAUSES_S = (60.0, 3600.0)
"""At least, and at most, between two looks."""

_log = structlog.get_logger()


async def run(context: ProgramContext, days: float) -> None:
    """Forget for ever; cancelled to stop."""
    kept = timedelta(days=days)
    shortest, longest = PAUSES_S
    while True:
        try:
            forgotten = await forget_erasures(context, kept)
            if forgotten:
                _log.info("who was erased is forgotten", members=forgotten)
        except Exception as fault:  # noqa: BLE001 - the next round may succeed
            _log.warning("forgetting is tried again", error=type(fault).__name__)
        await asyncio.sleep(min(longest, max(shortest, kept.total_seconds() / 10)))

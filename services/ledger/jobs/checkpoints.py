"""Making checkpoints by the clock, and one last when the process drains.

A checkpoint that cannot be made stops nothing: it is tried again, and log and metrics say so.
"""

import asyncio
from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge

from chassis.metrics import REGISTRY
from services.ledger.operations.checkpoints import ProofContext, create_checkpoint

DRAIN_SECONDS = 10.0

LAST = Gauge(
    "loyalty_checkpoint_time_seconds",
    "When the last checkpoint was made, in seconds since 1970",
    registry=REGISTRY,
)
FAILED = Counter(
    "loyalty_checkpoints_failed", "Checkpoints that could not be made", registry=REGISTRY
)

_log = structlog.get_logger()


async def run(context: ProofContext, minutes: float) -> None:
    """Make a checkpoint every so many minutes for ever; cancelled to stop.

    Of several processes one makes it: the others find it young.
    """
    interval = timedelta(minutes=minutes)
    while True:
        await asyncio.sleep(interval.total_seconds())
        await attempt(context, interval / 2)


async def drain(context: ProofContext) -> None:
    """Make a last checkpoint, of everything that was posted."""
    if context.keeper is None:
        return
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await attempt(context, timedelta(0))
    except TimeoutError:
        FAILED.inc()
        _log.error("no checkpoint at the end", error="it took too long")


async def attempt(context: ProofContext, young: timedelta) -> None:
    """Make a checkpoint, unless the last one is younger than that."""
    try:
        made = await create_checkpoint(context, not_since=context.clock() - young)
    except Exception as fault:  # noqa: BLE001 - the next round may succeed
        FAILED.inc()
        _log.error("no checkpoint", error=type(fault).__name__, reason=str(fault))
        return
    checkpoint = made.checkpoint
    LAST.set(checkpoint.time.timestamp())
    _log.info("checkpoint", number=checkpoint.number, leaves=checkpoint.leaves)

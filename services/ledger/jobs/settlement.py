"""Posting what fell due for accounts that nobody touches.

Reads and writes settle by themselves, so this job is never needed for a right answer; it keeps the
stream, the reports and the members' notices in time. It can stop anywhere and go on.
"""

import asyncio

import structlog
from prometheus_client import Counter, Gauge

from chassis.database import ACQUIRE_TIMEOUT_S
from chassis.metrics import REGISTRY
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store import due

PAUSE_S = 1.0
CHUNK_PER_BUCKET = 20

SETTLED = Counter("loyalty_accounts_settled", "Accounts the job settled", registry=REGISTRY)
OLDEST_DUE = Gauge(
    "loyalty_oldest_due_seconds", "How long the oldest due account waits", registry=REGISTRY
)

_log = structlog.get_logger()


async def settle_due(context: LedgerContext) -> int:
    """Settle what is due now, of at most a chunk a bucket; how many accounts there were."""
    environment = context.environment
    buckets = range(environment.buckets)
    now = environment.clock()
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        keys = await due.due_accounts(connection, buckets, now, CHUNK_PER_BUCKET)
        if not keys:
            oldest = await due.oldest_due(connection, buckets)
            late = 0.0 if oldest is None else (now - oldest).total_seconds()
            OLDEST_DUE.set(max(0.0, late))
            return 0
    await context.lanes.settle(keys)
    SETTLED.inc(len(keys))
    return len(keys)


async def run(context: LedgerContext) -> None:
    """Settle for ever; cancelled to stop."""
    while True:
        try:
            settled = await settle_due(context)
        except Exception as fault:  # noqa: BLE001 - the next round may succeed
            _log.warning("settling is tried again", error=type(fault).__name__)
            settled = 0
        if not settled:
            await asyncio.sleep(PAUSE_S)

"""Posting what fell due for accounts that nobody touches.

Reads and writes settle by themselves, so this job is never needed for a right answer; it keeps the
stream, the reports and the members' notices in time.

It goes bucket by bucket, the longest due first, a bounded number of accounts at a time, so that its
memory does not depend on how much is due. Any number of processes share the buckets: whoever works
on one holds its claim, which ends with the connection. It can be killed anywhere: what was
committed is not due any more, and the rest still is.
"""

import asyncio
import random
import time
from collections.abc import Sequence

import structlog
from prometheus_client import Counter, Gauge

from chassis.database import ACQUIRE_TIMEOUT_S
from chassis.metrics import REGISTRY
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Broken, Item, Settled
from services.ledger.store import due
from services.ledger.store.accounts import Key

PAUSE_S = 1.0
WORKERS = 2
"""While the accounts of one are locked and read, those of another are decided."""

BUCKETS_PER_TURN = 4
TURN_S = 3.0
"""After so long a worker gives its buckets back, so that whoever came meanwhile gets a share."""

CHUNK_PER_BUCKET = 32
SKIP_S = 300.0
SKIPPED_MAX = 1_000

SETTLED = Counter("loyalty_accounts_settled", "Accounts the job settled", registry=REGISTRY)
OLDEST_DUE = Gauge(
    "loyalty_oldest_due_seconds", "How long the oldest due account waits", registry=REGISTRY
)

_log = structlog.get_logger()


class Settlement:
    """The job of one process."""

    def __init__(self, context: LedgerContext) -> None:
        self._context = context
        # Accounts that could not be settled, and until when others go first.
        self._skipped: dict[Key, float] = {}

    async def run(self) -> None:
        """Settle for ever; cancelled to stop."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def turn(self) -> int:
        """Settle what is due now of a few buckets that nobody works on; how many accounts."""
        environment = self._context.environment
        now = environment.clock()
        async with (
            self._context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(readonly=True),
        ):
            oldest = await due.oldest_due(connection, range(environment.buckets))
            late = max(((now - instant).total_seconds() for instant in oldest.values()), default=0)
            OLDEST_DUE.set(max(0.0, late))
            buckets = [bucket for bucket, instant in oldest.items() if instant <= now]
            # Those who come at the same time begin with different ones.
            random.shuffle(buckets)
            mine = await due.claim(connection, buckets, BUCKETS_PER_TURN) if buckets else []
            settled, until = 0, time.monotonic() + TURN_S
            while mine and time.monotonic() < until:
                keys = await due.due_accounts(
                    connection, mine, now, CHUNK_PER_BUCKET, self._to_skip()
                )
                if not keys:
                    break
                settled += await self._settle(keys)
        return settled

    async def _work(self) -> None:
        while True:
            try:
                settled = await self.turn()
            except Exception as fault:  # noqa: BLE001 - the next turn may succeed
                _log.warning("settling is tried again", error=type(fault).__name__)
                settled = 0
            if not settled:
                await asyncio.sleep(PAUSE_S)

    async def _settle(self, keys: Sequence[Key]) -> int:
        outcomes = await self._context.lanes.submit([Item(key=key) for key in keys])
        settled = 0
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, Settled):
                settled += 1
                continue
            # It must not keep the others of its bucket waiting for ever.
            self._skipped[key] = time.monotonic() + SKIP_S
            fault = type(outcome.fault).__name__ if isinstance(outcome, Broken) else "refused"
            _log.error("an account is not settled", bucket=key[0], account=key[1], error=fault)
        SETTLED.inc(settled)
        return settled

    def _to_skip(self) -> list[int]:
        now = time.monotonic()
        for key in [key for key, until in self._skipped.items() if until <= now]:
            del self._skipped[key]
        while len(self._skipped) > SKIPPED_MAX:
            del self._skipped[next(iter(self._skipped))]
        return [account for _, account in self._skipped]


async def run(context: LedgerContext) -> None:
    """Settle for ever; cancelled to stop."""
    await Settlement(context).run()

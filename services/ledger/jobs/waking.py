"""Looking again at the accounts of programs whose settings made something fall due earlier."""

import asyncio

import structlog

from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.wake import wake_some

PAUSE_S = 5.0

_log = structlog.get_logger()


async def run(context: LedgerContext) -> None:
    """Look for ever; cancelled to stop."""
    while True:
        try:
            some = await wake_some(context.reads, context.lanes)
        except Exception as fault:  # noqa: BLE001 - the next round may succeed
            _log.warning("waking is tried again", error=type(fault).__name__)
            some = False
        if not some:
            await asyncio.sleep(PAUSE_S)

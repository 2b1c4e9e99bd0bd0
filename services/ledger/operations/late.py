"""What was logged before its member joined or left a group, and is posted after it."""

from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.store import directory, pools


async def as_of_logging(context: LedgerContext, item: Item, logged_time: datetime) -> None:
    """Have a command land where its member's commands landed when it was logged.

    Where that was is a fact of the past, so that it can be read before accounts are locked. Who was
    merged is the one that it was merged into, whenever something was logged.
    """
    assert item.name is not None
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        own = (await directory.find(connection, [item.name])).keys.get(item.name)
        if own is None:
            return
        then, now = await pools.pooled_at(connection, own, logged_time)
    if then == now:
        return
    if then is None:
        item.stay = True
        return
    item.name, item.key, item.of, item.whose = None, then.key, own, then.member

"""What was logged a while before it is posted: its member may be elsewhere by now, or nobody."""

from collections.abc import Sequence
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import MemberNotFound
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.store import directory, erasures, pools
from services.ledger.store.erasures import ErasedName


async def refused_for_lateness(
    context: LedgerContext, items: Sequence[Item], *, sandbox: bool
) -> dict[int, MemberNotFound]:
    """Have commands land where their members' commands landed when they were logged.

    Answers, by place, those whose members were erased since: the id is nobody's, or another one's.
    Where a member was is a fact of the past, so that it can be read before accounts are locked.
    """
    refused: dict[int, MemberNotFound] = {}
    for place, item in enumerate(items):
        if item.command is not None and item.command.logged_time is not None:
            try:
                await _as_of_logging(context, item, item.command.logged_time, sandbox=sandbox)
            except MemberNotFound as refusal:
                refused[place] = refusal
    return refused


async def _as_of_logging(
    context: LedgerContext, item: Item, logged_time: datetime, *, sandbox: bool
) -> None:
    name = item.name
    assert name is not None
    erased = ErasedName(name.name_bucket, name.organization, name.member)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        if await erasures.any_since(connection, erased, logged_time):
            raise MemberNotFound(name.member)
        if sandbox:
            # A sandbox's clock says nothing of when something was logged.
            return
        own = (await directory.find(connection, [name])).keys.get(name)
        if own is None:
            return
        then, now = await pools.pooled_at(connection, own, logged_time)
    if then == now:
        return
    if then is None:
        item.stay = True
        return
    item.name, item.key, item.of, item.whose = None, then.key, own, then.member

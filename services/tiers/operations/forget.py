"""Forgetting members whom the ledger erased, each once."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from services.tiers.operations.context import TiersContext
from services.tiers.operations.settle import persistently
from services.tiers.store import erasures
from services.tiers.store.connections import writing
from services.tiers.store.erasures import Gone


async def forget_members(context: TiersContext, gone: Sequence[Gone]) -> None:
    """Forget where members stand, leave their history to nobody, and publish that they are gone.

    Done before, it is not done again: the same id may be somebody else's by now.
    """
    for each in gone:
        await persistently(context, partial(_forget, context, each))
    if gone:
        context.bell.ring()


async def _forget(context: TiersContext, gone: Gone) -> None:
    async with writing(context.writes) as connection:
        if not await erasures.seen(connection, gone):
            await erasures.erase(connection, gone, context.clock())


async def forget_erasures(context: TiersContext, kept: timedelta) -> int:
    """Forget who was erased so long ago; how many ids. Whoever follows the stream knows by then."""
    async with writing(context.writes) as connection:
        return await erasures.forget(connection, context.clock() - kept)

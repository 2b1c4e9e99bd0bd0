"""Forgetting members whom the ledger erased: their events stay, and are nobody's."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from services.rules.operations.context import RulesContext
from services.rules.peers.erasures import STREAM, Erased, nobodys_content, nobodys_posting
from services.rules.store import erasures
from services.rules.store.connections import transact
from services.rules.store.erasures import Named, Scrubbed
from services.rules.store.events import nobodys_refusal

BATCH = 200
CLOCKS_APART = timedelta(milliseconds=100)
"""By how much the clock of the log may be ahead of the ledger's: what was logged by then is the
erased person's, what was logged later is somebody's who got the id since.
"""


async def load_cursors(context: RulesContext) -> dict[int, int]:
    """How far the ledger's stream was followed."""
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        return await erasures.cursors(connection, STREAM)


async def forget_members(
    context: RulesContext, erased: Sequence[Erased], moved: Mapping[int, int]
) -> None:
    """Leave nothing personal of members' events, then move the cursors.

    What an event came to stays: its type, its times, the trace and the points. An event that is not
    finished is refused: whether the ledger applied it nobody can tell any more, and posting it now
    would enrol the id again. Done twice it changes nothing.
    """
    for each in erased:
        while await transact(context.writes, partial(_some, erased=each)) == BATCH:
            pass
        for name in [
            name for name in context.unsure if name[::2] == (each.organization, each.member)
        ]:
            del context.unsure[name]

    async def save(connection: Connection) -> None:
        await erasures.save_cursors(connection, STREAM, moved)

    await transact(context.writes, save)


async def _some(connection: Connection, *, erased: Erased) -> int:
    before = erased.time + CLOCKS_APART
    found = await erasures.find(connection, erased.organization, erased.member, before, BATCH)
    if found:
        await erasures.scrub(connection, erased.member, [_scrubbed(each) for each in found])
    return len(found)


def _scrubbed(event: Named) -> Scrubbed:
    posting = None if event.posting is None else nobodys_posting(event.posting)
    refusal = None if event.done else nobodys_refusal(event.refusal)
    return Scrubbed(event, nobodys_content(event.id, event.type), posting, refusal)

"""Reading the event log."""

from collections.abc import Sequence

from chassis.database import ACQUIRE_TIMEOUT_S
from services.rules.domain.refusals import EventNotFound
from services.rules.operations.context import Caller, RulesContext, peer_seconds
from services.rules.store.events import LoggedEvent, find_events, page_of_events

NUMBER_MAX = 2**63 - 1
FIRST_PAGE = (NUMBER_MAX, "")


async def get_event(context: RulesContext, caller: Caller, program: str, event: str) -> LoggedEvent:
    """One event. Refusals: PROGRAM_NOT_FOUND, EVENT_NOT_FOUND."""
    key = await _key(context, caller, program)
    if key is not None:
        async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            found = await find_events(connection, key, [event])
        if event in found:
            return found[event]
    raise EventNotFound(event)


async def list_events(
    context: RulesContext,
    caller: Caller,
    program: str,
    member: str,
    event_type: str,
    before: tuple[int, str],
    size: int,
) -> tuple[Sequence[LoggedEvent], bool]:
    """A page of the log, the latest logged first, and whether there are more.

    Empty `member` and `event_type` mean all. Refusals: PROGRAM_NOT_FOUND.
    """
    key = await _key(context, caller, program)
    if key is None:
        return [], False
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await page_of_events(connection, key, member, event_type, before, size + 1)
    return found[:size], len(found) > size


async def _key(context: RulesContext, caller: Caller, program: str) -> int | None:
    """The key of a program; None where it exists and nothing is logged. Refuses unknown ones.

    What rules know already can be read while the ledger is away.
    """
    key = await context.rulesets.key(caller.organization, program)
    if key is None:
        await context.programs.view(caller.organization, program, peer_seconds())
    return key

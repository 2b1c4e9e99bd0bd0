"""Going on with events that were logged and not finished."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from chassis.database import Connection
from chassis.logs import logger
from kernel.refusals import NotSandbox, Refusal
from services.rules.domain.events import Event
from services.rules.operations.context import Caller, RulesContext, peer_seconds
from services.rules.operations.outcomes import Outcome
from services.rules.operations.submit import resume_events
from services.rules.peers.credentials import ACTOR
from services.rules.peers.event_message import event_of_content
from services.rules.store.connections import transact
from services.rules.store.events import Unfinished, take_due

BATCH = 500


async def redrive(
    context: RulesContext, *, program: int | None = None, due_by: datetime | None = None
) -> tuple[int, int]:
    """Take up unfinished events, of one program or of all; answer how many, and of them finished.

    What is not finished now is put off, the longer the older it is.
    """
    now = context.clock()

    async def take(connection: Connection) -> list[Unfinished]:
        return await take_due(connection, now, BATCH, due_by=due_by or now, program=program)

    taken = await transact(context.writes, take)
    done = 0
    for (organization, name), group in groupby(taken, lambda one: (one.organization, one.program)):
        credential = context.credentials.service(organization)
        caller = Caller(organization, ACTOR, credential)
        events = [event_of_content(each.event.content) for each in group]
        done += await _resume(context, caller, name, events)
    return len(taken), done


async def _resume(
    context: RulesContext, caller: Caller, program: str, events: Sequence[Event]
) -> int:
    """Go on with events of one program; how many of them were finished."""
    try:
        results = await resume_events(context, caller, program, events)
    except Refusal:
        # The program cannot be asked about just now; others go on.
        return 0
    except Exception as error:  # noqa: BLE001 - whatever breaks, the others go on
        if len(events) > 1:
            # One of them breaks the others: each by itself, so that only that one waits.
            return sum([await _resume(context, caller, program, [each]) for each in events])
        logger("redrive").error(
            "event not taken up", program=program, event_id=events[0].id, exc_info=error
        )
        return 0
    return sum(isinstance(result, Outcome) for result in results)


async def catch_up(context: RulesContext, caller: Caller, program: str) -> tuple[datetime, int]:
    """Finish what is unfinished in a sandbox program; answer its now and how many were finished.

    Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX.
    """
    now = await sandbox_now(context, caller, program)
    key = await context.rulesets.key(caller.organization, program)
    if key is None:
        return now, 0
    _, done = await redrive(context, program=key, due_by=context.clock() + timedelta(days=1))
    return now, done


async def sandbox_now(context: RulesContext, caller: Caller, program: str) -> datetime:
    """A sandbox program's now. Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX."""
    view = await context.programs.view(caller.organization, program, peer_seconds())
    if not view.facts.sandbox:
        raise NotSandbox
    return view.now

"""Bringing a sandbox's profiles up to date with what the ledger and the tiers recorded."""

from datetime import datetime
from typing import Protocol

from chassis.call import remaining_seconds
from chassis.refusals import DeadlinePassed
from kernel.refusals import NotSandbox
from services.audience.operations.context import AudienceContext, Caller
from services.audience.operations.follow import load_cursors
from services.audience.peers.ledger import NAME as LEDGER
from services.audience.peers.tiers import NAME as TIERS

POLL_S = 0.05


class Published(Protocol):
    """A service whose stream is followed."""

    async def newer(self, cursors: dict[int, int], /) -> dict[int, int] | None:
        """Cursors after the next changes; None where nothing newer is recorded."""
        ...


async def check_sandbox(context: AudienceContext, caller: Caller, program: str) -> datetime:
    """A sandbox's now. PROGRAM_NOT_FOUND, NOT_SANDBOX."""
    facts = await context.ledger.program(caller.organization, program)
    if not facts.sandbox:
        raise NotSandbox
    return facts.now


async def catch_up(
    context: AudienceContext, caller: Caller, program: str, time: datetime
) -> tuple[datetime, int]:
    """Wait until everything that was recorded before the call is applied.

    Answers the program's now, not before `time`, and how many changes were applied meanwhile.
    Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX, DEPENDENCY_UNAVAILABLE, DEADLINE_PASSED.
    """
    now = await check_sandbox(context, caller, program)
    before = sum(each.applied for each in context.progress.values())
    await _follow_to_the_end(context, LEDGER, context.ledger)
    await _follow_to_the_end(context, TIERS, context.tiers)
    done = sum(each.applied for each in context.progress.values()) - before
    return max(now, time), done


async def _follow_to_the_end(context: AudienceContext, stream: str, service: Published) -> None:
    """Wait until the stored cursors are where the stream knows of nothing newer.

    Whoever applies it, this process or another: what counts is what is stored.
    """
    while True:
        cursors = await load_cursors(context, stream)
        newer = await service.newer(cursors)
        if newer is None:
            return
        while any(cursors.get(bucket, 0) < sequence for bucket, sequence in newer.items()):
            if remaining_seconds() <= 0:
                raise DeadlinePassed
            await context.progress[stream].wait(POLL_S)
            cursors = await load_cursors(context, stream)

"""A sandbox's part of time: nothing falls due here, and postings are followed to the last one."""

import asyncio
from datetime import datetime

from chassis.call import remaining_seconds
from chassis.refusals import DeadlinePassed
from kernel.refusals import NotSandbox
from services.tiers.operations.apply_postings import load_cursors
from services.tiers.operations.context import TiersContext
from services.tiers.store import changes
from services.tiers.store.connections import reading
from services.tiers.store.ladders import Program

POLL_S = 0.02


async def catch_up(context: TiersContext, program: Program) -> tuple[datetime, int]:
    """Wait until everything that the ledger recorded before the call is applied here.

    Whichever process follows. Answers the program's now, and how many moves of its members there
    were meanwhile. Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX.
    """
    now = await sandbox_time(context, program)
    async with reading(context.reads) as connection:
        before = await changes.heads(connection, range(context.buckets))
    begun = await load_cursors(context)
    wanted = await context.ledger.end_of_stream(begun, context.credentials.following())
    while True:
        cursors = await load_cursors(context)
        if all(cursors.get(bucket, 0) >= sequence for bucket, sequence in wanted.items()):
            break
        if remaining_seconds() <= 0:
            raise DeadlinePassed
        await asyncio.sleep(POLL_S)
    async with reading(context.reads) as connection:
        return now, await changes.count_moves(connection, program, before)


async def sandbox_time(context: TiersContext, program: Program) -> datetime:
    """A sandbox's now. Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX."""
    clock = await context.ledger.clock(program.id)
    if not clock.sandbox:
        raise NotSandbox
    return clock.now

"""Moving a sandbox through time, and doing everything that falls due on the way."""

from datetime import UTC, datetime

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import NotSandbox
from services.ledger.domain.program_refusals import ClockGoesBack
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.operations.wake import wake_some
from services.ledger.store import program_writes, sandbox
from services.ledger.store.programs import ProgramState

# So many accounts are settled at once; more would only wait in the same lanes.
CHUNK = 500

_BEGINNING = (datetime.min.replace(tzinfo=UTC), -1)


async def advance_clock(
    context: ProgramContext, caller: Caller, program: str, time: datetime
) -> tuple[datetime, int]:
    """Move the clock to `time` and settle; answers the program's now and how many were settled.

    The clock moves first, so that whatever else is posted meanwhile belongs to the new time. A call
    that was cut short is resumed by calling again with the same time.
    Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX, CLOCK_GOES_BACK.
    """
    state, clock = await _sandbox(context, caller, program)
    async with context.engine.begin() as connection:
        moved = await program_writes.advance_clock(connection, state.key, time)
    if moved is None:
        _, clock = await _sandbox(context, caller, program)
        raise ClockGoesBack(clock)
    return moved, await _settle(context, state.key, moved)


async def catch_up(
    context: ProgramContext, caller: Caller, program: str, time: datetime
) -> tuple[datetime, int]:
    """Like `advance_clock`, but a clock that is later already stays and is brought up to date.

    Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX.
    """
    state, _ = await _sandbox(context, caller, program)
    async with context.engine.begin() as connection:
        await program_writes.advance_clock(connection, state.key, time)
    _, clock = await _sandbox(context, caller, program)
    return clock, await _settle(context, state.key, clock)


async def next_due(context: ProgramContext, caller: Caller, program: str) -> datetime | None:
    """The earliest instant after the program's now at which something may fall due, or None.

    It may be earlier than anything that really happens, and is never later.
    Refusals: PROGRAM_NOT_FOUND, NOT_SANDBOX.
    """
    state, clock = await _sandbox(context, caller, program)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        return await sandbox.next_due_time(connection, state.key, clock)


async def _sandbox(
    context: ProgramContext, caller: Caller, program: str
) -> tuple[ProgramState, datetime]:
    state = await context.cache.get(caller.organization, program)
    if state.clock is None:
        raise NotSandbox
    return state, state.clock


async def _settle(context: ProgramContext, program: int, until: datetime) -> int:
    """Settle every account with something due until then; how many there were.

    Settling moves an account's due time past `until`, so one pass in the order of due times meets
    each account once, and ends even if accounts keep being touched.
    """
    while await wake_some(context.reads, context.settler, program):
        pass
    settled = 0
    after = _BEGINNING
    while True:
        async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            due = await sandbox.due_accounts(connection, program, until, after, CHUNK)
        if due:
            await context.settler.settle([(bucket, account) for bucket, account, _ in due])
            settled += len(due)
        if len(due) < CHUNK:
            return settled
        after = (due[-1][2], due[-1][1])

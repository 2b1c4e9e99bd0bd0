"""Reading programs, and changing their names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.ledger.domain.programs import check_etag, etag_of, masked
from services.ledger.operations.context import Caller, ProgramContext, locked_program
from services.ledger.store.program_writes import list_programs, save_program
from services.ledger.store.programs import ProgramState, ProgramSummary

_PATHS = ("display_name",)


def program_etag(program: ProgramSummary) -> str:
    """The etag of a program: of everything about it that is changed by request."""
    return etag_of("program", program.version)


async def get_program(context: ProgramContext, caller: Caller, program: str) -> ProgramState:
    """The program as it is now, or PROGRAM_NOT_FOUND."""
    return await context.cache.get(caller.organization, program)


async def page_of_programs(
    context: ProgramContext, caller: Caller, after: str, size: int
) -> tuple[Sequence[tuple[ProgramSummary, str]], bool]:
    """At most `size` programs with ids greater than `after`, by id, and whether there are more.

    Each comes with the id of its default currency.
    """
    async with context.engine.connect() as connection:
        found = await list_programs(connection, caller.organization, after, size + 1)
    return found[:size], len(found) > size


async def update_program(
    context: ProgramContext,
    caller: Caller,
    program: str,
    given: Mapping[str, Any],
    mask: Collection[str],
    etag: str,
) -> ProgramState:
    """Change a program's display name.

    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND, ETAG_STALE.
    """
    chosen = masked(given, mask, _PATHS)
    async with context.engine.begin() as connection:
        state = await locked_program(connection, caller.organization, program)
        check_etag(etag, program_etag(state))
        changes = {path: given.get(path, "") for path in chosen}
        if all(getattr(state, path) == value for path, value in changes.items()):
            return state
        changed = replace(state, version=state.version + 1, **changes)
        await save_program(connection, changed)
        await context.publish(connection, changed, changed.now(context.clock()))
    return changed

"""Reading what the settings of a program were, and who changed them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.ledger.domain.config import ProgramConfig
from services.ledger.domain.program_settings import changed_settings
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.store.program_writes import Author, list_revisions

_FIRST = 1


@dataclass(frozen=True, slots=True)
class SettingsRevision:
    """One revision: who made it, and what it changed of the settings, by path: before, after."""

    revision: int
    author: Author
    changes: Mapping[str, tuple[Any, Any]]


async def page_of_revisions(
    context: ProgramContext, caller: Caller, program: str, before: int, size: int
) -> tuple[Sequence[SettingsRevision], bool]:
    """At most `size` revisions with numbers less than `before`, newest first, and whether more are.

    Refusals: PROGRAM_NOT_FOUND.
    """
    identity = await context.cache.identity(caller.organization, program)
    async with context.engine.connect() as connection:
        # One more: what a revision changed is told by the one before it.
        found = await list_revisions(connection, identity.key, before, size + 1)
    answer = []
    for place, each in enumerate(found[:size]):
        if each.revision == _FIRST:
            older = ProgramConfig(currencies=each.config.currencies)
        else:
            older = found[place + 1].config
        changes = changed_settings(older, each.config)
        answer.append(SettingsRevision(each.revision, each.author, changes))
    return answer, len(found) > size

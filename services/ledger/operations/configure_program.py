"""Changing what a program is configured to do: settings, currencies, counters.

Every change is a new revision: an immutable snapshot, in one transaction that holds the program's
row. What equals the configuration in force changes nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.ledger.domain.config import CounterConfig, CurrencyConfig, ProgramConfig
from services.ledger.domain.programs import (
    add_counter,
    add_currency,
    check_etag,
    check_fixed,
    check_settings,
    etag_of,
    update_settings,
)
from services.ledger.operations.context import Caller, ProgramContext, locked_program
from services.ledger.store.program_writes import Author, insert_revision, save_program
from services.ledger.store.programs import ProgramState


@dataclass(frozen=True, slots=True)
class SettingsUpdate:
    """What is asked for: the fields that are given by their path, and which of them to change."""

    given: Mapping[str, Any]
    mask: Collection[str]
    etag: str
    validate_only: bool
    reason: str


def settings_etag(program: ProgramState) -> str:
    """The etag of a program's settings."""
    return etag_of("settings", program.revision)


async def update_program_settings(
    context: ProgramContext, caller: Caller, program: str, update: SettingsUpdate
) -> ProgramState:
    """Change a program's settings by mask; with `validate_only` answer as if.

    Refusals: PROGRAM_NOT_FOUND, ETAG_STALE, INVALID_FIELD, SETTING_FIXED,
    EXPIRY_STRATEGY_NOT_FOUND.
    """

    def decide(state: ProgramState) -> ProgramConfig:
        check_etag(update.etag, settings_etag(state))
        config = update_settings(state.config, update.given, update.mask)
        check_fixed(state.config, config, state.posted)
        check_settings(config, context.known)
        return config

    return await _configure(
        context, caller, program, decide, reason=update.reason, save=not update.validate_only
    )


async def create_currency(
    context: ProgramContext, caller: Caller, program: str, currency: CurrencyConfig
) -> ProgramState:
    """Add a currency, or leave the equal one.

    Refusals: PROGRAM_NOT_FOUND, CURRENCY_EXISTS, EXPIRY_STRATEGY_NOT_FOUND, LIMIT_REACHED.
    """
    return await _configure(
        context,
        caller,
        program,
        lambda state: add_currency(state.config, currency),
        reason=f"currency {currency.id}",
    )


async def create_counter(
    context: ProgramContext, caller: Caller, program: str, counter: CounterConfig
) -> ProgramState:
    """Register a counter, or leave the equal one.

    Refusals: PROGRAM_NOT_FOUND, COUNTER_EXISTS, LIMIT_REACHED.
    """
    return await _configure(
        context,
        caller,
        program,
        lambda state: add_counter(state.config, counter),
        reason=f"counter {counter.id}",
    )


async def _configure(
    context: ProgramContext,
    caller: Caller,
    program: str,
    decide: Callable[[ProgramState], ProgramConfig],
    *,
    reason: str,
    save: bool = True,
) -> ProgramState:
    async with context.engine.begin() as connection:
        state = await locked_program(connection, caller.organization, program)
        config = decide(state)
        if config == state.config:
            return state
        changed = replace(
            state, config=config, revision=state.revision + 1, version=state.version + 1
        )
        if not save:
            return changed
        author = Author(caller.actor, reason, changed.now(context.clock()))
        await insert_revision(connection, changed, author)
        await save_program(connection, changed)
        await context.publish(connection, changed, author.record_time)
    return changed

"""Changing what a program is configured to do: settings, currencies, counters.

Every change is a new revision: an immutable snapshot, in one transaction that holds the program's
row. What equals the configuration in force changes nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.ledger.domain.config import CounterConfig, CurrencyConfig, ProgramConfig
from services.ledger.domain.program_refusals import RevisionNotFound
from services.ledger.domain.program_settings import (
    check_fixed,
    check_settings,
    restore_settings,
    update_settings,
    with_idle_months,
)
from services.ledger.domain.programs import add_counter, add_currency, check_etag, etag_of
from services.ledger.operations.context import Caller, ProgramContext, locked_program
from services.ledger.store.program_writes import (
    Author,
    find_revision,
    insert_revision,
    save_program,
    wake,
)
from services.ledger.store.programs import ProgramState
from services.ledger.store.tables import Transaction


@dataclass(frozen=True, slots=True)
class SettingsUpdate:
    """What is asked for: the fields that are given by their path, and which of them to change."""

    given: Mapping[str, Any]
    mask: Collection[str]
    etag: str


@dataclass(frozen=True, slots=True)
class Change:
    """How a change is made: with `validate_only` it is answered as if. `reason` is for history."""

    validate_only: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Configured:
    """A program before a change of its configuration and after it."""

    before: ProgramState
    after: ProgramState

    @property
    def changed(self) -> bool:
        """Whether the configuration became another one."""
        return self.before.revision != self.after.revision


def settings_etag(program: ProgramState) -> str:
    """The etag of a program's settings."""
    return etag_of("settings", program.revision)


async def update_program_settings(
    context: ProgramContext, caller: Caller, program: str, update: SettingsUpdate, change: Change
) -> Configured:
    """Change a program's settings by mask.

    Refusals: PROGRAM_NOT_FOUND, ETAG_STALE, SETTING_FIXED, INVALID_FIELD,
    EXPIRY_STRATEGY_NOT_FOUND.
    """
    async with context.engine.begin() as connection:
        state = await locked_program(connection, caller.organization, program)
        configured = configure(state, updated_config(context, state, update))
        if not change.validate_only:
            await save_configured(context, caller, connection, [configured], change.reason)
        return configured


async def restore_settings_revision(
    context: ProgramContext, caller: Caller, program: str, revision: int, etag: str, change: Change
) -> Configured:
    """Make a program's settings again what they were in a revision.

    Refusals: PROGRAM_NOT_FOUND, ETAG_STALE, REVISION_NOT_FOUND, SETTING_FIXED, INVALID_FIELD,
    EXPIRY_STRATEGY_NOT_FOUND.
    """
    async with context.engine.begin() as connection:
        state = await locked_program(connection, caller.organization, program)
        check_etag(etag, settings_etag(state))
        old = await find_revision(connection, state.key, revision)
        if old is None:
            raise RevisionNotFound(revision)
        config = restore_settings(state.config, old)
        check_config(context, state, config)
        configured = configure(state, config)
        if not change.validate_only:
            await save_configured(context, caller, connection, [configured], change.reason)
        return configured


def updated_config(
    context: ProgramContext, state: ProgramState, update: SettingsUpdate
) -> ProgramConfig:
    """What a program's configuration becomes by an update of its settings.

    Refusals: ETAG_STALE, SETTING_FIXED, INVALID_FIELD, EXPIRY_STRATEGY_NOT_FOUND.
    """
    check_etag(update.etag, settings_etag(state))
    config = update_settings(state.config, update.given, update.mask)
    check_config(context, state, config)
    return config


def check_config(context: ProgramContext, state: ProgramState, config: ProgramConfig) -> None:
    """Refuse settings that a program cannot have: SETTING_FIXED, then as `check_settings` does."""
    check_fixed(state.config, config, state.posted)
    check_settings(config, context.known)


def configure(state: ProgramState, config: ProgramConfig) -> Configured:
    """A program before and after it is given a configuration: a new revision if it is another."""
    config = with_idle_months(state.config, config)
    if config == state.config:
        return Configured(state, state)
    after = replace(state, config=config, revision=state.revision + 1, version=state.version + 1)
    return Configured(state, after)


async def save_configured(
    context: ProgramContext,
    caller: Caller,
    connection: Transaction,
    programs: Sequence[Configured],
    reason: str,
) -> None:
    """Write the new revisions of locked programs and publish them. Last in its transaction.

    The heads of the stream's buckets are locked in order, as all who lock several do.
    """
    changed = [each.after for each in programs if each.changed]
    server_time = context.clock()
    for program in changed:
        author = Author(caller.actor, reason, program.now(server_time))
        await insert_revision(connection, program, author)
        await save_program(connection, program)
    for each in programs:
        days = each.after.config.expiry_notice_days
        if days and days != each.before.config.expiry_notice_days:
            await wake(connection, each.after.key)
    for program in sorted(changed, key=lambda each: (context.bucket(each), each.key)):
        await context.publish(connection, program, program.now(server_time))


async def create_currency(
    context: ProgramContext, caller: Caller, program: str, currency: CurrencyConfig
) -> ProgramState:
    """Add a currency, or leave the equal one.

    Refusals: PROGRAM_NOT_FOUND, CURRENCY_EXISTS, SETTING_OFF, EXPIRY_STRATEGY_NOT_FOUND,
    LIMIT_REACHED.
    """
    return await _configure(
        context,
        caller,
        program,
        lambda config: add_currency(config, currency),
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
        lambda config: add_counter(config, counter),
        reason=f"counter {counter.id}",
    )


async def _configure(
    context: ProgramContext,
    caller: Caller,
    program: str,
    decide: Callable[[ProgramConfig], ProgramConfig],
    reason: str,
) -> ProgramState:
    async with context.engine.begin() as connection:
        state = await locked_program(connection, caller.organization, program)
        configured = configure(state, decide(state.config))
        await save_configured(context, caller, connection, [configured], reason)
        return configured.after

"""Creating a program."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel.refusals import FieldViolation, InvalidField, LimitReached
from services.ledger.domain.config import CurrencyConfig, ProgramConfig
from services.ledger.domain.program_refusals import OrganizationNotFound, ProgramExists
from services.ledger.domain.program_settings import check_settings, update_settings
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.store.organizations import find_organization
from services.ledger.store.program_writes import (
    Author,
    Creation,
    count_programs,
    find_creation,
    find_program,
    insert_program,
)
from services.ledger.store.programs import ProgramState

_ONE_PROGRAM = (
    "an organization has 1 program besides sandboxes unless its setting multiple_programs is on"
    " (UpdateOrganization)"
)


@dataclass(frozen=True, slots=True)
class NewProgram:
    """What is asked for. `settings` holds the fields that are given, by their path."""

    id: str
    display_name: str
    sandbox: bool
    start_time: datetime | None
    currency: CurrencyConfig
    settings: Mapping[str, Any]


async def create_program(
    context: ProgramContext, caller: Caller, asked: NewProgram
) -> ProgramState:
    """Create a program, or answer the one that was created by an equal request.

    The organization's row is locked, so that of two programs created at once, where only one is
    allowed, one is refused.
    Refusals: INVALID_FIELD, ORGANIZATION_NOT_FOUND, EXPIRY_STRATEGY_NOT_FOUND, PROGRAM_EXISTS,
    LIMIT_REACHED.
    """
    if asked.start_time is not None and not asked.sandbox:
        raise InvalidField(FieldViolation("start_time", "only a sandbox has a clock of its own"))
    config = update_settings(ProgramConfig(currencies=(asked.currency,)), asked.settings, ())
    check_settings(config, context.known)
    creation = Creation(asked.display_name, asked.sandbox, asked.start_time, config)
    async with context.engine.begin() as connection:
        organization = await find_organization(connection, caller.organization, lock=True)
        if organization is None:
            raise OrganizationNotFound(caller.organization)
        existing = await find_program(connection, caller.organization, asked.id)
        if existing is not None:
            if await find_creation(connection, existing.key) != creation:
                raise ProgramExists(asked.id)
            return existing
        if not asked.sandbox and not organization.settings.multiple_programs:
            count = await count_programs(connection, caller.organization)
            if count >= 1:
                raise LimitReached("multiple_programs", 1, count, _ONE_PROGRAM)
        program = _new_program(context, caller, asked, config)
        record_time = program.now(program.create_time)
        author = Author(caller.actor, "created", record_time)
        if not await insert_program(connection, program, creation, author):
            raise ProgramExists(asked.id)
        await context.publish(connection, program, record_time)
    return program


def _new_program(
    context: ProgramContext, caller: Caller, asked: NewProgram, config: ProgramConfig
) -> ProgramState:
    server_time = context.clock()
    return ProgramState(
        key=context.surrogate(server_time),
        organization=caller.organization,
        id=asked.id,
        sandbox=asked.sandbox,
        clock=(asked.start_time or server_time) if asked.sandbox else None,
        revision=1,
        config=config,
        posted=False,
        display_name=asked.display_name,
        version=1,
        create_time=server_time,
    )

"""Changing the settings of many programs at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from kernel.refusals import FieldViolation, InvalidField, ProgramNotFound
from services.ledger.domain.program_refusals import OrganizationNotFound
from services.ledger.domain.program_settings import naming_item
from services.ledger.domain.refusals import SettingOff
from services.ledger.operations.configure_program import (
    Change,
    Configured,
    SettingsUpdate,
    configure,
    save_configured,
    updated_config,
)
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.store.organizations import find_organization
from services.ledger.store.program_writes import find_programs


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What is asked for of one program."""

    program: str
    update: SettingsUpdate


async def batch_update_program_settings(
    context: ProgramContext, caller: Caller, items: Sequence[BatchItem], change: Change
) -> Sequence[Configured]:
    """Change the settings of programs, all or none; one answer an item, in order.

    Refusals: INVALID_FIELD, ORGANIZATION_NOT_FOUND, SETTING_OFF, and of an item PROGRAM_NOT_FOUND,
    ETAG_STALE, SETTING_FIXED, INVALID_FIELD, EXPIRY_STRATEGY_NOT_FOUND.
    """
    names = [item.program for item in items]
    _refuse_twice(names)
    async with context.engine.begin() as connection:
        organization = await find_organization(connection, caller.organization)
        if organization is None:
            raise OrganizationNotFound(caller.organization)
        if not organization.settings.bulk_updates:
            raise SettingOff("bulk_updates")
        lock = not change.validate_only
        programs = await find_programs(connection, caller.organization, names, lock=lock)
        configured = []
        for place, item in enumerate(items):
            with naming_item(place):
                state = programs.get(item.program)
                if state is None:
                    raise ProgramNotFound(item.program)
                configured.append(configure(state, updated_config(context, state, item.update)))
        if not change.validate_only:
            await save_configured(context, caller, connection, configured, change.reason)
        return configured


def _refuse_twice(names: Sequence[str]) -> None:
    twice = [place for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InvalidField(
            *(FieldViolation(f"items[{place}].program", "is named twice") for place in twice)
        )

"""Registering, reading and changing an organization."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any

from services.ledger.domain.program_refusals import OrganizationExists, OrganizationNotFound
from services.ledger.domain.programs import (
    OrganizationSettings,
    check_etag,
    etag_of,
    masked,
)
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.store.organizations import (
    Organization,
    find_organization,
    insert_organization,
    save_organization,
)

_PATHS = tuple(f"settings.{field.name}" for field in fields(OrganizationSettings))


def organization_etag(organization: Organization) -> str:
    """The etag of an organization."""
    return etag_of("organization", organization.version)


async def create_organization(
    context: ProgramContext, organization: str, settings: OrganizationSettings
) -> Organization:
    """Register an organization, or answer the one with equal settings. ORGANIZATION_EXISTS."""
    created = Organization(organization, settings, version=1, create_time=context.clock())
    async with context.engine.begin() as connection:
        if await insert_organization(connection, created):
            return created
        existing = await find_organization(connection, organization)
        if existing is None or existing.settings != settings:
            raise OrganizationExists(organization)
        return existing


async def get_organization(context: ProgramContext, caller: Caller) -> Organization:
    """The caller's organization, or ORGANIZATION_NOT_FOUND."""
    async with context.engine.connect() as connection:
        organization = await find_organization(connection, caller.organization)
    if organization is None:
        raise OrganizationNotFound(caller.organization)
    return organization


async def update_organization(
    context: ProgramContext,
    caller: Caller,
    given: Mapping[str, Any],
    mask: Collection[str],
    etag: str,
) -> Organization:
    """Change the caller's organization by mask.

    Refusals: INVALID_FIELD, ORGANIZATION_NOT_FOUND, ETAG_STALE.
    """
    chosen = masked(given, mask, _PATHS)
    async with context.engine.begin() as connection:
        organization = await find_organization(connection, caller.organization, lock=True)
        if organization is None:
            raise OrganizationNotFound(caller.organization)
        check_etag(etag, organization_etag(organization))
        changes = {path.removeprefix("settings."): given.get(path, False) for path in chosen}
        settings = replace(organization.settings, **changes)
        if settings == organization.settings:
            return organization
        changed = replace(organization, settings=settings, version=organization.version + 1)
        await save_organization(connection, changed)
        return changed

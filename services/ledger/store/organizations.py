"""Organizations: registered once, read and changed rarely."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ledger.domain.programs import OrganizationSettings
from services.ledger.store.tables import ORGANIZATION

# What a later version stores besides is ignored.
_SETTINGS = frozenset(field.name for field in fields(OrganizationSettings))


@dataclass(frozen=True, slots=True)
class Organization:
    """A business that runs programs. `version` counts its changes, from 1."""

    id: str
    settings: OrganizationSettings
    version: int
    create_time: datetime


async def find_organization(
    connection: AsyncConnection, organization: str, *, lock: bool = False
) -> Organization | None:
    """The organization, if it is registered. `lock` keeps others from changing it until commit."""
    statement = select(ORGANIZATION).where(ORGANIZATION.c.id == organization)
    if lock:
        # Not FOR UPDATE: rows that refer to the organization may still be written.
        statement = statement.with_for_update(key_share=True)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _organization(row)


async def insert_organization(connection: AsyncConnection, organization: Organization) -> bool:
    """Register an organization; False where its id is taken."""
    statement = (
        insert(ORGANIZATION)
        .values(
            id=organization.id,
            settings=asdict(organization.settings),
            version=organization.version,
            create_time=organization.create_time,
        )
        .on_conflict_do_nothing()
        .returning(ORGANIZATION.c.id)
    )
    return (await connection.execute(statement)).one_or_none() is not None


async def save_organization(connection: AsyncConnection, organization: Organization) -> None:
    """Write the settings and the version of a locked organization."""
    await connection.execute(
        update(ORGANIZATION)
        .where(ORGANIZATION.c.id == organization.id)
        .values(settings=asdict(organization.settings), version=organization.version)
    )


def _organization(row: Row[tuple[object, ...]]) -> Organization:
    stored = row._mapping  # noqa: SLF001 - SQLAlchemy's documented access by name.
    return Organization(
        id=stored["id"],
        settings=OrganizationSettings(
            **{name: on for name, on in stored["settings"].items() if name in _SETTINGS}
        ),
        version=stored["version"],
        create_time=stored["create_time"],
    )

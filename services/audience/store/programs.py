"""Programs as this service knows them: a key, the currencies seen, and a count of changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.database import Connection

_FIND = "SELECT key, version, currencies FROM program WHERE organization = $1 AND id = $2"

_LOCK = f"{_FIND} FOR NO KEY UPDATE"

_CREATE = """
INSERT INTO program (organization, id) VALUES ($1, $2) ON CONFLICT (organization, id) DO NOTHING
"""

_CURRENCIES = "SELECT key, currencies FROM program WHERE key = ANY ($1::bigint[])"

_BUMP = "UPDATE program SET version = version + 1 WHERE key = $1 RETURNING version"

# The row's lock makes it the newest list that grows, whoever else adds to it.
_ADD_CURRENCIES = """
UPDATE program SET currencies = currencies || $2::text[] WHERE key = $1 RETURNING currencies
"""


@dataclass(frozen=True, slots=True)
class ProgramRow:
    """A program. `currencies` give each currency its place in a profile's amounts."""

    key: int
    version: int
    currencies: tuple[str, ...]


async def find(connection: Connection, organization: str, program: str) -> ProgramRow | None:
    """The program, if anything was heard of it."""
    return _row(await connection.fetchrow(_FIND, organization, program))


async def lock(connection: Connection, organization: str, program: str) -> ProgramRow:
    """The program, made where it is not known yet; locked until commit."""
    row = _row(await connection.fetchrow(_LOCK, organization, program))
    if row is None:
        await connection.execute(_CREATE, organization, program)
        row = _row(await connection.fetchrow(_LOCK, organization, program))
    assert row is not None
    return row


async def ensure(
    connection: Connection, organization: str, program: str, currencies: Sequence[str]
) -> ProgramRow:
    """The program, with a place for each of the currencies. In a transaction."""
    row = await lock(connection, organization, program)
    missing = [each for each in currencies if each not in row.currencies]
    if not missing:
        return row
    grown = await connection.fetchval(_ADD_CURRENCIES, row.key, missing)
    return ProgramRow(row.key, row.version, tuple(grown))


async def currencies(connection: Connection, keys: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The currencies of programs by key, in their places."""
    rows = await connection.fetch(_CURRENCIES, list(keys))
    return {row[0]: tuple(row[1]) for row in rows}


async def bump(connection: Connection, key: int) -> int:
    """Count a change of the program's audiences; answers the count."""
    version: int = await connection.fetchval(_BUMP, key)
    return version


def _row(row: Any) -> ProgramRow | None:
    return None if row is None else ProgramRow(row[0], row[1], tuple(row[2]))

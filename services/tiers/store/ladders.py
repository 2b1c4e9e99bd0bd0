"""Ladders: which version is in force, and what each version says."""

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from chassis.database import Connection
from services.tiers.domain.ladder import Ladder
from services.tiers.store.ladder_json import ladder_from_json, ladder_to_json

CACHED_MAX = 2_000

_IN_FORCE = """
SELECT l.organization, l.program, l.id, l.version
FROM unnest($1::text[], $2::text[]) AS k (organization, program)
JOIN ladder l ON l.organization = k.organization AND l.program = k.program
"""

# Whoever moves members shares the ladder's row, and whoever changes the ladder has it alone: so no
# member rises to a tier that is being taken out.
_SHARE = f"""
{_IN_FORCE}
ORDER BY l.organization COLLATE "C", l.program COLLATE "C"
FOR SHARE OF l
"""

_LOCK = """
SELECT version FROM ladder WHERE organization = $1 AND program = $2 AND id = $3
FOR NO KEY UPDATE
"""

_INSERT = """
INSERT INTO ladder (organization, program, id, version) VALUES ($1, $2, $3, 1)
ON CONFLICT DO NOTHING
RETURNING version
"""

_MOVE = """
UPDATE ladder SET version = $4 WHERE organization = $1 AND program = $2 AND id = $3
"""

_INSERT_VERSION = """
INSERT INTO ladder_version (organization, program, ladder, version, record_time, actor, definition)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_DEFINITION = """
SELECT definition FROM ladder_version
WHERE organization = $1 AND program = $2 AND ladder = $3 AND version = $4
"""


class Program(NamedTuple):
    """A program of an organization."""

    organization: str
    id: str


class InForce(NamedTuple):
    """Which version of which ladder a program has."""

    ladder: str
    version: int


class Ladders:
    """Definitions by version, remembered: they never change."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Program, InForce], Ladder] = OrderedDict()

    async def get(self, connection: Connection, program: Program, version: InForce) -> Ladder:
        """A version of a ladder that exists."""
        key = (program, version)
        ladder = self._known.get(key)
        if ladder is None:
            stored = await connection.fetchval(_DEFINITION, *program, *version)
            ladder = ladder_from_json(version.ladder, version.version, json.loads(stored))
            self._known[key] = ladder
            if len(self._known) > CACHED_MAX:
                self._known.popitem(last=False)
        return ladder


async def in_force(
    connection: Connection, programs: Collection[Program], *, share: bool = False
) -> Mapping[Program, InForce]:
    """The versions in force, of the programs that have a ladder.

    With `share` they stay in force until the transaction ends; locked in the order of programs.
    """
    names = list(programs)
    rows = await connection.fetch(
        _SHARE if share else _IN_FORCE,
        [each.organization for each in names],
        [each.id for each in names],
    )
    return {Program(row[0], row[1]): InForce(row[2], row[3]) for row in rows}


async def lock_version(connection: Connection, program: Program, ladder: str) -> int | None:
    """The version of a ladder, locked against whoever moves members on it; None without it."""
    version: int | None = await connection.fetchval(_LOCK, *program, ladder)
    return version


async def insert_ladder(connection: Connection, program: Program, ladder: str) -> bool:
    """Make room for a ladder's first version; False where the program has one already."""
    return await connection.fetchval(_INSERT, *program, ladder) is not None


async def insert_version(
    connection: Connection, program: Program, ladder: Ladder, actor: str, record_time: datetime
) -> None:
    """Store a version and put it in force."""
    definition = json.dumps(ladder_to_json(ladder))
    await connection.execute(
        _INSERT_VERSION, *program, ladder.id, ladder.version, record_time, actor, definition
    )
    await connection.execute(_MOVE, *program, ladder.id, ladder.version)

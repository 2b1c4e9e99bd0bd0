"""Audiences: their definitions."""

import json
from typing import Any

from chassis.database import Connection
from services.audience.domain.audience import Audience, Definition
from services.audience.domain.criteria import Criterion, Field

_ALL = """
SELECT id, display_name, group_id, criteria, version FROM audience WHERE program = $1 ORDER BY id
"""

_SAVE = """
INSERT INTO audience (program, id, display_name, group_id, criteria, version)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (program, id) DO UPDATE SET
    display_name = excluded.display_name,
    group_id = excluded.group_id,
    criteria = excluded.criteria,
    version = excluded.version
"""

_DELETE = "DELETE FROM audience WHERE program = $1 AND id = $2"


async def load(connection: Connection, program: int) -> tuple[Audience, ...]:
    """All audiences of a program, by id."""
    return tuple(_audience(row) for row in await connection.fetch(_ALL, program))


async def save(connection: Connection, program: int, audience: Audience) -> None:
    """Insert or replace an audience. The program's row is locked."""
    definition = audience.definition
    await connection.execute(
        _SAVE,
        program,
        audience.id,
        definition.display_name,
        definition.group,
        json.dumps([_criterion_json(each) for each in definition.criteria]),
        audience.version,
    )


async def delete(connection: Connection, program: int, audience: str) -> None:
    """Delete an audience. The program's row is locked."""
    await connection.execute(_DELETE, program, audience)


def _audience(row: Any) -> Audience:
    criteria = tuple(_criterion(each) for each in json.loads(row[3]))
    return Audience(row[0], Definition(row[1], criteria, row[2]), row[4])


def _criterion_json(criterion: Criterion) -> dict[str, object]:
    if criterion.field is Field.TIER:
        return {"field": criterion.field.name, "tiers": list(criterion.tiers)}
    return {
        "field": criterion.field.name,
        "currency": criterion.currency,
        "minimum": criterion.minimum,
        "maximum": criterion.maximum,
    }


def _criterion(stored: dict[str, Any]) -> Criterion:
    return Criterion(
        Field[stored["field"]],
        stored.get("currency", ""),
        stored.get("minimum"),
        stored.get("maximum"),
        tuple(stored.get("tiers", ())),
    )

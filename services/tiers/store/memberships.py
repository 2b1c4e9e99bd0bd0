"""Where members stand: one row a member and ladder, made at the first evaluation."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from chassis.database import Connection
from services.tiers.domain.membership import Standing
from services.tiers.store.ladders import InForce, Program


class Key(NamedTuple):
    """Whose standing on which ladder; sorted, the order in which rows are locked."""

    bucket: int
    organization: str
    program: str
    ladder: str
    member: str


# A subquery for each key, so that no plan ever scans the table.
_READ = """
SELECT l.id, l.version, k.member, m.tier, m.since
FROM ladder l
LEFT JOIN unnest($3::int[], $4::text[]) AS k (bucket, member) ON true
LEFT JOIN LATERAL (
    SELECT tier, since FROM membership
    WHERE bucket = k.bucket AND organization = l.organization AND program = l.program
        AND ladder = l.id AND member = k.member
    LIMIT 1
) m ON true
WHERE l.organization = $1 AND l.program = $2
"""

_KEYS = """
unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS k (bucket, organization, program, ladder, member)
"""

_READ_KEYS = f"""
SELECT k.bucket, k.organization, k.program, k.ladder, k.member, m.tier, m.since
FROM {_KEYS}
CROSS JOIN LATERAL (
    SELECT tier, since FROM membership
    WHERE bucket = k.bucket AND organization = k.organization AND program = k.program
        AND ladder = k.ladder AND member = k.member
    LIMIT 1
) m
"""

_ORDER = """
bucket, organization COLLATE "C", program COLLATE "C", ladder COLLATE "C", member COLLATE "C"
"""

_INSERT = f"""
INSERT INTO membership (
    bucket, organization, program, ladder, member, tier, since, ladder_version
)
SELECT k.* FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::bigint[]
) AS k (bucket, organization, program, ladder, member, tier, since, ladder_version)
ORDER BY {_ORDER}
ON CONFLICT DO NOTHING
RETURNING bucket, organization, program, ladder, member
"""

# Locked in key order, so that no two transactions wait for each other.
_LOCK = f"""
SELECT m.bucket, m.organization, m.program, m.ladder, m.member, m.tier, m.since
FROM {_KEYS}
JOIN membership m USING (bucket, organization, program, ladder, member)
ORDER BY m.bucket, m.organization COLLATE "C", m.program COLLATE "C", m.ladder COLLATE "C",
    m.member COLLATE "C"
FOR NO KEY UPDATE OF m
"""

_UPDATE = """
UPDATE membership m SET tier = k.tier, since = k.since, ladder_version = k.ladder_version
FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::bigint[]
) AS k (bucket, organization, program, ladder, member, tier, since, ladder_version)
WHERE m.bucket = k.bucket AND m.organization = k.organization AND m.program = k.program
    AND m.ladder = k.ladder AND m.member = k.member
"""

_OCCUPIED = """
SELECT k.tier FROM unnest($4::text[]) WITH ORDINALITY AS k (tier, place)
WHERE EXISTS (
    SELECT FROM membership
    WHERE organization = $1 AND program = $2 AND ladder = $3 AND tier = k.tier
)
ORDER BY k.place
LIMIT 1
"""


class Placed(NamedTuple):
    """A standing to store, and the version of the ladder that gave it."""

    standing: Standing
    version: int


async def read(
    connection: Connection, program: Program, members: Sequence[tuple[int, str]]
) -> tuple[InForce | None, dict[str, Standing]]:
    """The program's ladder, None without one, and where members (bucket, member) stand on it.

    Of one instant: every tier named is one of that version's.
    """
    rows = await connection.fetch(
        _READ, *program, [bucket for bucket, _ in members], [member for _, member in members]
    )
    if not rows:
        return None, {}
    return InForce(rows[0][0], rows[0][1]), {
        row[2]: Standing(row[3], row[4]) for row in rows if row[3] is not None
    }


async def read_keys(connection: Connection, keys: Collection[Key]) -> dict[Key, Standing]:
    """Where members stand, of those that have a row."""
    rows = await connection.fetch(_READ_KEYS, *_columns(keys))
    return {Key(*row[:5]): Standing(row[5], row[6]) for row in rows}


async def insert(connection: Connection, rows: Mapping[Key, Placed]) -> set[Key]:
    """Store first standings; answers those that nobody had stored before."""
    inserted = await connection.fetch(_INSERT, *_columns(rows), *_placed(rows))
    return {Key(*row) for row in inserted}


async def lock(connection: Connection, keys: Collection[Key]) -> dict[Key, Standing]:
    """Where members stand, locked in key order until the transaction ends."""
    rows = await connection.fetch(_LOCK, *_columns(keys))
    return {Key(*row[:5]): Standing(row[5], row[6]) for row in rows}


async def update(connection: Connection, rows: Mapping[Key, Placed]) -> None:
    """Store where locked members stand now."""
    await connection.execute(_UPDATE, *_columns(rows), *_placed(rows))


async def occupied(
    connection: Connection, program: Program, ladder: str, tiers: Sequence[str]
) -> str | None:
    """The first of these tiers on which somebody stands; None where nobody does."""
    tier: str | None = await connection.fetchval(_OCCUPIED, *program, ladder, list(tiers))
    return tier


def _columns(keys: Collection[Key]) -> list[list[object]]:
    return [list(column) for column in zip(*keys, strict=True)] or [[], [], [], [], []]


def _placed(rows: Mapping[Key, Placed]) -> tuple[list[str], list[datetime], list[int]]:
    values = list(rows.values())
    return (
        [each.standing.tier for each in values],
        [each.standing.since for each in values],
        [each.version for each in values],
    )

"""What people are found by, and the people that members are."""

from collections.abc import Iterable, Mapping, Sequence

from chassis.database import Connection
from services.ledger.domain.identifiers import Identifier
from services.ledger.store.directory import Name
from services.ledger.store.seals import BILLING, seal

Person = tuple[int, int]
"""(bucket, person)."""

_READ_KEY = "SELECT value FROM fact WHERE name = 'identifier_key'"

# `OFFSET 0`: by key, however small the table was when the plan was made.
_OWNERS = """
SELECT k.place, i.bucket, i.person
FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY
    AS k (name_bucket, organization, kind, value, place)
CROSS JOIN LATERAL (
    SELECT bucket, person FROM identifier i
    WHERE i.name_bucket = k.name_bucket AND i.organization = k.organization
        AND i.kind = k.kind AND i.value = k.value
    OFFSET 0
) i
"""

# A person that was merged is the one that it was merged into.
_PEOPLE = """
SELECT k.place, coalesce(d.into_bucket, d.bucket), coalesce(d.into_person, d.person)
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY
    AS k (name_bucket, organization, member, place)
JOIN directory d
    ON d.name_bucket = k.name_bucket AND d.organization = k.organization AND d.member = k.member
"""

_COUNTS = """
SELECT k.bucket, k.person, i.count
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, person)
CROSS JOIN LATERAL (
    SELECT count(*) FROM identifier WHERE bucket = k.bucket AND person = k.person
) i
WHERE i.count > 0
"""

_INSERT = """
INSERT INTO identifier (name_bucket, organization, kind, value, bucket, person)
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[], $5::int[], $6::bigint[])
ON CONFLICT (name_bucket, organization, kind, value) DO NOTHING
RETURNING 1
"""

_SET_BILLING_DAYS = f"""
UPDATE account a SET
    billing_day = k.billing_day, billing_seal = {seal(BILLING, "a", billing_day="k.billing_day")}
FROM unnest($1::int[], $2::bigint[], $3::smallint[]) AS k (bucket, id, billing_day)
WHERE a.bucket = k.bucket AND a.id = k.id
"""

_LOOKUP = """
WITH RECURSIVE found AS (
    SELECT bucket, person, 0 AS depth FROM identifier
    WHERE name_bucket = $1 AND organization = $2 AND kind = $3 AND value = $4
    UNION ALL
    SELECT d.into_bucket, d.into_person, f.depth + 1
    FROM found f JOIN directory d ON d.bucket = f.bucket AND d.person = f.person
    WHERE d.into_person IS NOT NULL AND f.depth < 100
)
SELECT d.member
FROM found f
JOIN directory d ON d.bucket = f.bucket AND d.person = f.person AND d.into_person IS NULL
JOIN account a ON a.bucket = f.bucket AND a.person = f.person AND a.program = $5 AND a.sequence > 0
"""


async def read_key(connection: Connection) -> bytes:
    """The key of the identifiers' hashes, which was made with the tables."""
    stored: str = await connection.fetchval(_READ_KEY)
    return bytes.fromhex(stored)


async def owners(
    connection: Connection, identifiers: Sequence[Identifier]
) -> dict[Identifier, Person]:
    """Whose identifiers these are; those that nobody has are left out."""
    rows = await connection.fetch(_OWNERS, *_columns(identifiers))
    return {identifiers[row[0] - 1]: (row[1], row[2]) for row in rows}


async def people(connection: Connection, names: Sequence[Name]) -> dict[Name, Person]:
    """Who members are, whatever program they are named in."""
    rows = await connection.fetch(
        _PEOPLE,
        [name.name_bucket for name in names],
        [name.organization for name in names],
        [name.member for name in names],
    )
    return {names[row[0] - 1]: (row[1], row[2]) for row in rows}


async def counts(connection: Connection, whose: Iterable[Person]) -> dict[Person, int]:
    """How many identifiers people have; those without any are left out."""
    wanted = sorted(set(whose))
    rows = await connection.fetch(_COUNTS, [b for b, _ in wanted], [p for _, p in wanted])
    return {(row[0], row[1]): row[2] for row in rows}


async def insert(connection: Connection, claimed: Mapping[Identifier, Person]) -> bool:
    """Give identifiers to people; False where one was taken meanwhile."""
    order = sorted(claimed)
    rows = await connection.fetch(
        _INSERT,
        *_columns(order),
        [claimed[each][0] for each in order],
        [claimed[each][1] for each in order],
    )
    return len(rows) == len(order)


async def set_billing_days(connection: Connection, days: Mapping[tuple[int, int], int]) -> None:
    """Set the billing days of accounts, which are locked."""
    order = sorted(days)
    await connection.execute(
        _SET_BILLING_DAYS,
        [bucket for bucket, _ in order],
        [account for _, account in order],
        [days[key] for key in order],
    )


async def lookup(connection: Connection, program: int, identifier: Identifier) -> str | None:
    """The member of a program who has an identifier, or who that person was merged into."""
    member: str | None = await connection.fetchval(
        _LOOKUP,
        identifier.name_bucket,
        identifier.organization,
        identifier.kind,
        identifier.value,
        program,
    )
    return member


def _columns(
    identifiers: Sequence[Identifier],
) -> tuple[list[int], list[str], list[str], list[bytes]]:
    return (
        [each.name_bucket for each in identifiers],
        [each.organization for each in identifiers],
        [each.kind for each in identifiers],
        [each.value for each in identifiers],
    )

"""Changing and erasing members: what a person is found by, and who a person is at all.

A member's account row is locked first, as postings do, then identifiers, then the directory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ledger.domain.identifiers import Identifier
from services.ledger.store.accounts import Key
from services.ledger.store.erasures import ErasedName
from services.ledger.store.seals import BILLING, seal

_LOCK = text("""
SELECT billing_day, state FROM account WHERE bucket = :bucket AND id = :account FOR NO KEY UPDATE
""")

_IDENTIFIERS = text("""
SELECT name_bucket, organization, kind, value FROM identifier
WHERE bucket = :bucket AND person = :person
""")

_REMOVE = text("""
DELETE FROM identifier
WHERE name_bucket = :name_bucket AND organization = :organization AND kind = :kind
    AND value = :value AND bucket = :bucket AND person = :person
""")

_ADD = text("""
INSERT INTO identifier (name_bucket, organization, kind, value, bucket, person)
VALUES (:name_bucket, :organization, :kind, :value, :bucket, :person)
ON CONFLICT (name_bucket, organization, kind, value) DO NOTHING
RETURNING 1
""")

_BILLING_DAY = text(f"""
UPDATE account a SET
    billing_day = CAST(:day AS smallint),
    billing_seal = CASE WHEN CAST(:day AS smallint) IS NOT NULL
        THEN {seal(BILLING, "a", billing_day="CAST(:day AS smallint)")} END
WHERE a.bucket = :bucket AND a.id = :account
""")

# Everybody who was merged into a person, at any remove, and the person itself.
_FAMILY = """
WITH RECURSIVE family AS (
    SELECT CAST(:bucket AS integer) AS bucket, CAST(:person AS bigint) AS person
    UNION
    SELECT d.bucket, d.person
    FROM family f JOIN directory d ON d.into_bucket = f.bucket AND d.into_person = f.person
)
"""

# In key order, like every transaction that locks accounts.
_LOCK_FAMILY = text(f"""
{_FAMILY}
SELECT a.bucket, a.id, a.program, p.id AS program_id, a.link, a.kind, a.person,
    (SELECT g.id FROM pool g WHERE g.bucket = a.link_bucket AND g.account = a.link_account)
        AS pool
FROM family f
JOIN account a ON a.bucket = f.bucket AND a.person = f.person
JOIN program p ON p.key = a.program
ORDER BY a.bucket, a.id
FOR NO KEY UPDATE OF a
""")

_ERASE_ACCOUNTS = text(f"""
{_FAMILY}
UPDATE account a SET state = 3 FROM family f WHERE a.bucket = f.bucket AND a.person = f.person
""")

_ERASE_IDENTIFIERS = text(f"""
{_FAMILY}
DELETE FROM identifier i USING family f WHERE i.bucket = f.bucket AND i.person = f.person
RETURNING 1
""")

_ERASE_NAMES = text(f"""
{_FAMILY}
DELETE FROM directory d USING family f WHERE d.bucket = f.bucket AND d.person = f.person
RETURNING d.bucket, d.organization, d.member
""")


@dataclass(frozen=True, slots=True)
class PersonAccount:
    """An account of a person that is about to be erased, locked. `pool` is its group's id."""

    key: Key
    program: int
    program_id: str
    link: int | None
    kind: int
    person: int
    pool: str | None


async def lock_member(connection: AsyncConnection, key: Key) -> tuple[int | None, int] | None:
    """Lock a member's account until commit: its billing day and state."""
    rows = await connection.execute(_LOCK, {"bucket": key[0], "account": key[1]})
    row = rows.one_or_none()
    return None if row is None else (row[0], row[1])


async def identifiers_of(connection: AsyncConnection, bucket: int, person: int) -> list[Identifier]:
    """What a person is found by."""
    rows = await connection.execute(_IDENTIFIERS, {"bucket": bucket, "person": person})
    return [Identifier(row[0], row[1], row[2], bytes(row[3])) for row in rows]


async def remove_identifier(
    connection: AsyncConnection, identifier: Identifier, bucket: int, person: int
) -> None:
    """Take an identifier away from a person, if it is its."""
    await connection.execute(_REMOVE, _row(identifier, bucket, person))


async def add_identifier(
    connection: AsyncConnection, identifier: Identifier, bucket: int, person: int
) -> bool:
    """Give an identifier to a person; False where it is somebody's."""
    rows = await connection.execute(_ADD, _row(identifier, bucket, person))
    return rows.one_or_none() is not None


async def set_billing_day(connection: AsyncConnection, key: Key, day: int | None) -> None:
    """Set the billing day of an account, which is locked."""
    await connection.execute(_BILLING_DAY, {"bucket": key[0], "account": key[1], "day": day})


async def lock_person(
    connection: AsyncConnection, bucket: int, person: int
) -> Sequence[PersonAccount]:
    """Lock all accounts of a person, those of everybody merged into it included."""
    rows = await connection.execute(_LOCK_FAMILY, {"bucket": bucket, "person": person})
    return [PersonAccount((row[0], row[1]), *row[2:]) for row in rows]


async def erase_person(
    connection: AsyncConnection, bucket: int, person: int
) -> tuple[list[ErasedName], int]:
    """Make a person unknown: the names erased, and how many identifiers went.

    The accounts are locked. The directory goes last, because the others are found by it.
    """
    whose = {"bucket": bucket, "person": person}
    await connection.execute(_ERASE_ACCOUNTS, whose)
    identifiers = len((await connection.execute(_ERASE_IDENTIFIERS, whose)).all())
    names = [ErasedName(*row) for row in await connection.execute(_ERASE_NAMES, whose)]
    return names, identifiers


def _row(identifier: Identifier, bucket: int, person: int) -> dict[str, object]:
    return {
        "name_bucket": identifier.name_bucket,
        "organization": identifier.organization,
        "kind": identifier.kind,
        "value": identifier.value,
        "bucket": bucket,
        "person": person,
    }

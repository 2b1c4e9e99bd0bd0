"""Which account a member has: the directory names people, accounts belong to people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from chassis.database import Connection
from services.ledger.domain.digest import first_digest
from services.ledger.store.seals import PERSON, seal


class Name(NamedTuple):
    """A member of a program, by the caller's id; `name_bucket` is made of the next two.

    A tuple, because it is looked up several times for every command.
    """

    name_bucket: int
    organization: str
    member: str
    program: int


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Ids for an account that may have to be made, and where its program's time stands."""

    name: Name
    person: int
    account: int
    sandbox: bool
    enrol_time: datetime


# A person that was merged and has no account in a program has that of the person merged into.
_FIND = """
SELECT k.place, coalesce(a.bucket, i.bucket), coalesce(a.id, i.id),
    CASE WHEN a.id IS NULL THEN i.link_bucket ELSE a.link_bucket END,
    CASE WHEN a.id IS NULL THEN i.link_account ELSE a.link_account END,
    CASE WHEN a.id IS NULL THEN n.member END
FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
    AS k (name_bucket, organization, member, program, place)
JOIN directory d
    ON d.name_bucket = k.name_bucket AND d.organization = k.organization AND d.member = k.member
LEFT JOIN account a ON a.bucket = d.bucket AND a.program = k.program AND a.person = d.person
LEFT JOIN account i
    ON i.bucket = d.into_bucket AND i.program = k.program AND i.person = d.into_person
LEFT JOIN directory n ON n.bucket = d.into_bucket AND n.person = d.into_person
WHERE a.id IS NOT NULL OR i.id IS NOT NULL
"""

_SEAL = seal(PERSON, "k", bucket="k.name_bucket", into_bucket="NULL", into_person="NULL")

_PEOPLE_INSERT = f"""
INSERT INTO directory (name_bucket, organization, member, bucket, person, seal)
SELECT k.name_bucket, k.organization, k.member, k.name_bucket, k.person, {_SEAL}
FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[])
    AS k (name_bucket, organization, member, person)
ON CONFLICT (name_bucket, organization, member) DO NOTHING
RETURNING name_bucket, organization, member
"""

# Locked in order, so that nobody is merged while an account is made for it.
_PEOPLE = """
SELECT k.place, coalesce(d.into_bucket, d.bucket), coalesce(d.into_person, d.person)
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY
    AS k (name_bucket, organization, member, place)
JOIN directory d
    ON d.name_bucket = k.name_bucket AND d.organization = k.organization AND d.member = k.member
ORDER BY d.name_bucket, d.organization, d.member
FOR KEY SHARE OF d
"""

_ACCOUNTS_INSERT = """
INSERT INTO account (
    bucket, id, program, person, state, sandbox, version, sequence, digest, enrol_time, record_time
)
SELECT k.bucket, k.id, k.program, k.person, 1, k.sandbox, 0, 0, k.digest, k.enrol_time, k.enrol_time
FROM unnest(
    $1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bytea[],
    $7::timestamptz[]
) AS k (bucket, id, program, person, sandbox, digest, enrol_time)
ON CONFLICT (bucket, program, person) DO NOTHING
RETURNING bucket, id
"""

_ACCOUNTS_DELETE = """
DELETE FROM account a USING unnest($1::int[], $2::bigint[]) AS k (bucket, id)
WHERE a.bucket = k.bucket AND a.id = k.id AND a.sequence = 0
"""

_PEOPLE_DELETE = """
DELETE FROM directory d USING unnest($1::int[], $2::text[], $3::text[])
    AS k (name_bucket, organization, member)
WHERE d.name_bucket = k.name_bucket AND d.organization = k.organization AND d.member = k.member
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The accounts of members as (bucket, id), and where linked ones are linked to.

    `aliases` are names of people that were merged: whose account it is.
    """

    keys: dict[Name, tuple[int, int]]
    links: dict[tuple[int, int], tuple[int, int]]
    aliases: dict[Name, str]


async def find(connection: Connection, names: Sequence[Name]) -> Found:
    """Where members' accounts are; members without an account are left out."""
    rows = await connection.fetch(
        _FIND,
        [name.name_bucket for name in names],
        [name.organization for name in names],
        [name.member for name in names],
        [name.program for name in names],
    )
    return Found(
        {names[row[0] - 1]: (row[1], row[2]) for row in rows},
        {(row[1], row[2]): (row[3], row[4]) for row in rows if row[3] is not None},
        {names[row[0] - 1]: row[5] for row in rows if row[5] is not None},
    )


@dataclass(frozen=True, slots=True)
class Created:
    """What one transaction made: accounts by (bucket, id), and people by directory key."""

    accounts: frozenset[tuple[int, int]]
    people: frozenset[tuple[int, str, str]]


class SurrogateTaken(Exception):
    """A number that was drawn for a person or an account is another one's already: draw again."""


async def create(connection: Connection, wanted: Sequence[NewAccount]) -> Created:
    """Make the accounts that do not exist, in key order, whoever else makes them just now.

    Raises SurrogateTaken, where another transaction of the same millisecond drew the same number.
    """
    try:
        return await _create(connection, wanted)
    except asyncpg.UniqueViolationError:
        raise SurrogateTaken from None


async def _create(connection: Connection, wanted: Sequence[NewAccount]) -> Created:
    wanted = sorted(wanted, key=lambda new: new.name)
    keys = (
        [new.name.name_bucket for new in wanted],
        [new.name.organization for new in wanted],
        [new.name.member for new in wanted],
    )
    people = await connection.fetch(_PEOPLE_INSERT, *keys, [new.person for new in wanted])
    places = await connection.fetch(_PEOPLE, *keys)
    found = sorted(
        ((row[1], wanted[row[0] - 1].name.program, row[2], wanted[row[0] - 1]) for row in places),
        key=lambda item: item[:3],
    )
    accounts = await connection.fetch(
        _ACCOUNTS_INSERT,
        [bucket for bucket, _, _, _ in found],
        [new.account for _, _, _, new in found],
        [program for _, program, _, _ in found],
        [person for _, _, person, _ in found],
        [new.sandbox for _, _, _, new in found],
        [first_digest(bucket, new.account) for bucket, _, _, new in found],
        [new.enrol_time for _, _, _, new in found],
    )
    return Created(
        accounts=frozenset((row[0], row[1]) for row in accounts),
        people=frozenset((row[0], row[1], row[2]) for row in people),
    )


async def forget(
    connection: Connection,
    accounts: Sequence[tuple[int, int]],
    people: Sequence[tuple[int, str, str]],
) -> None:
    """Unmake accounts and people that this very transaction made and nothing came of."""
    if accounts:
        await connection.execute(
            _ACCOUNTS_DELETE, [bucket for bucket, _ in accounts], [id_ for _, id_ in accounts]
        )
    if people:
        await connection.execute(
            _PEOPLE_DELETE,
            [bucket for bucket, _, _ in people],
            [organization for _, organization, _ in people],
            [member for _, _, member in people],
        )

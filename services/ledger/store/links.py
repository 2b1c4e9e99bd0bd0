"""Accounts whose commands land in another one: where to, by which name, and recorded requests."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import asyncpg

from chassis.database import Connection
from services.ledger.store.accounts import Key, Request, SeenRequest
from services.ledger.store.directory import Name

# `OFFSET 0`: by key, however few were linked when the plan was made.
_FOLLOW = """
SELECT a.bucket, a.id, a.link_bucket, a.link_account
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
CROSS JOIN LATERAL (
    SELECT * FROM account WHERE bucket = k.bucket AND id = k.id OFFSET 0
) a
WHERE a.link IS NOT NULL
"""

# The member of a linked account, that of the account it is linked to, and its place in a group.
_THROUGH = """
SELECT a.bucket, a.id, d.member, a.link_bucket, a.link_account, t.member, m.role, m.contributed,
    p.rules
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
JOIN account a ON a.bucket = k.bucket AND a.id = k.id
LEFT JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
LEFT JOIN account l ON l.bucket = a.link_bucket AND l.id = a.link_account
LEFT JOIN directory t ON t.bucket = l.bucket AND t.person = l.person
LEFT JOIN pool_member m
    ON m.member_bucket = a.bucket AND m.member_account = a.id AND m.leave_time IS NULL
LEFT JOIN pool p ON p.bucket = m.bucket AND p.account = m.account
"""

_MEMBERS = """
SELECT a.bucket, a.id, d.member
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
JOIN account a ON a.bucket = k.bucket AND a.id = k.id
JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
"""

_REQUESTS = """
SELECT r.bucket, r.account, r.request_id, r.request_digest, r.posting_bucket, r.posting_sequence,
    r.record_time
FROM unnest($1::int[], $2::bigint[], $3::text[]) AS k (bucket, account, request_id)
CROSS JOIN LATERAL (
    SELECT * FROM request
    WHERE bucket = k.bucket AND account = k.account AND request_id = k.request_id
    OFFSET 0
) r
"""

_ADD_REQUESTS = """
INSERT INTO request (
    bucket, account, request_id, request_digest, posting_bucket, posting_sequence, record_time
)
SELECT * FROM unnest(
    $1::int[], $2::bigint[], $3::text[], $4::bytea[], $5::int[], $6::bigint[], $7::timestamptz[]
)
"""

_ELSEWHERE = """
UPDATE account a SET elsewhere = true
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
WHERE a.bucket = k.bucket AND a.id = k.id AND NOT a.elsewhere
"""

_SET_LINK = """
UPDATE account SET link = $3, link_bucket = $4, link_account = $5 WHERE bucket = $1 AND id = $2
"""

_PROGRAMS = """
SELECT DISTINCT p.key, p.id
FROM directory d
JOIN program p ON p.organization = d.organization
JOIN account a ON a.program = p.key
    AND ((a.bucket = d.bucket AND a.person = d.person)
        OR (a.bucket = d.into_bucket AND a.person = d.into_person))
WHERE d.name_bucket = $1 AND d.organization = $2 AND d.member = $3
"""


@dataclass(frozen=True, slots=True)
class Through:
    """What is known of a linked account besides its row.

    `role`, `contributed` and `rules` (JSON) where it is pooled in a group.
    """

    member: str
    target_member: str
    role: str | None
    contributed: list[int] | None
    rules: str | None


def _columns(keys: Collection[Key]) -> tuple[list[int], list[int]]:
    return [bucket for bucket, _ in keys], [account for _, account in keys]


async def follow(connection: Connection, keys: Collection[Key]) -> dict[Key, Key]:
    """Where the linked ones of some accounts are linked to."""
    rows = await connection.fetch(_FOLLOW, *_columns(keys))
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def through(connection: Connection, keys: Collection[Key]) -> dict[Key, Through]:
    """What is known of linked accounts."""
    rows = await connection.fetch(_THROUGH, *_columns(keys))
    return {
        (row[0], row[1]): Through(row[2] or "", row[5] or "", row[6], row[7], row[8])
        for row in rows
    }


async def members_of(connection: Connection, keys: Collection[Key]) -> dict[Key, str]:
    """The members of accounts; those that are erased are left out."""
    rows = await connection.fetch(_MEMBERS, *_columns(keys))
    return {(row[0], row[1]): row[2] for row in rows}


async def recorded(
    connection: Connection, requests: Sequence[Request]
) -> dict[Request, SeenRequest]:
    """Which requests of accounts' members are recorded in another account."""
    columns = [list(column) for column in zip(*requests, strict=True)]
    rows: list[asyncpg.Record] = await connection.fetch(_REQUESTS, *columns)
    return {
        (row[0], row[1], row[2]): SeenRequest(row[3], row[5], row[6], bucket=row[4]) for row in rows
    }


async def record(connection: Connection, requests: Sequence[tuple[Request, SeenRequest]]) -> None:
    """Record where requests of accounts' members are; the accounts are locked."""
    await connection.execute(
        _ADD_REQUESTS,
        [request[0] for request, _ in requests],
        [request[1] for request, _ in requests],
        [request[2] for request, _ in requests],
        [seen.digest for _, seen in requests],
        [seen.bucket for _, seen in requests],
        [seen.sequence for _, seen in requests],
        [seen.record_time for _, seen in requests],
    )
    await connection.execute(
        _ELSEWHERE, *_columns(sorted({(request[0], request[1]) for request, _ in requests}))
    )


async def set_link(connection: Connection, key: Key, link: int | None, to: Key | None) -> None:
    """Link an account to another one, or to none; both are locked."""
    await connection.execute(_SET_LINK, *key, link, *(to or (None, None)))


async def program_id(connection: Connection, key: int) -> str:
    """The id of a program by its key."""
    found: str = await connection.fetchval("SELECT id FROM program WHERE key = $1", key)
    return found


async def programs_of(connection: Connection, name: Name) -> dict[int, str]:
    """The programs in which a member has an account: their ids by their keys."""
    rows = await connection.fetch(_PROGRAMS, name.name_bucket, name.organization, name.member)
    return {row[0]: row[1] for row in rows}

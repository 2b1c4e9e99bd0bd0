"""Groups and fleets, and who belongs to them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import asyncpg
from sqlalchemy import text

from chassis.database import Connection
from services.ledger.domain.account import AccountKind
from services.ledger.domain.groups import GroupRules, OnJoin, OnLeave, Permission
from services.ledger.store.accounts import Key
from services.ledger.store.seals import POOL, STAY, seal
from services.ledger.store.tables import Transaction


@dataclass(frozen=True, slots=True)
class Pool:
    """A group or fleet; `key` is its account."""

    key: Key
    program: int
    id: str
    kind: AccountKind
    display_name: str
    rules: GroupRules
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Stay:
    """A member's time in a group; `contributed` is by currency number."""

    member: str
    account: Key
    role: str
    join_time: datetime
    leave_time: datetime | None
    contributed: tuple[int, ...]
    entry: int

    @property
    def place(self) -> tuple[datetime, int, int]:
        """Its place among the stays of its group."""
        return self.join_time, self.account[1], self.entry


_COLUMNS = "bucket, account, program, id, kind, display_name, rules, create_time"

_CREATE = f"""
INSERT INTO pool ({_COLUMNS}, seal)
SELECT k.*, {seal(POOL, "k")}
FROM (VALUES ($1::int, $2::bigint, $3::bigint, $4::text, $5::smallint, $6::text, $7::jsonb,
    $8::timestamptz)) AS k ({_COLUMNS})
"""

_KIND = "UPDATE account SET kind = $3 WHERE bucket = $1 AND id = $2"

_FIND = f"SELECT {_COLUMNS} FROM pool WHERE bucket = $1 AND account = $2"

_NAMED = seal(POOL, "p", display_name="CAST(:display_name AS text)", rules="CAST(:rules AS jsonb)")

_UPDATE = text(f"""
UPDATE pool p SET
    display_name = CAST(:display_name AS text), rules = CAST(:rules AS jsonb), seal = {_NAMED}
WHERE p.bucket = :bucket AND p.account = :account
""")

_LIST = f"SELECT {_COLUMNS} FROM pool WHERE program = $1 AND id > $2 ORDER BY id LIMIT $3"

_JOIN = f"""
INSERT INTO pool_member (
    bucket, account, member_bucket, member_account, entry, role, join_time, contributed, seal
)
SELECT k.*, {seal(STAY, "k", leave_time="NULL::timestamptz", took_share="false")}
FROM (VALUES ($1::int, $2::bigint, $3::int, $4::bigint, $5::bigint, $6::text, $7::timestamptz,
    $8::bigint[])) AS k (
    bucket, account, member_bucket, member_account, entry, role, join_time, contributed
)
"""

_LEFT = seal(STAY, "m", leave_time="$3::timestamptz", took_share="$4::boolean")

_LEAVE = f"""
UPDATE pool_member m SET
    leave_time = $3::timestamptz, took_share = $4::boolean, seal = {_LEFT}
WHERE member_bucket = $1 AND member_account = $2 AND leave_time IS NULL
"""

_NOW_IN = """
SELECT p.id FROM pool_member m JOIN pool p ON p.bucket = m.bucket AND p.account = m.account
WHERE m.member_bucket = $1 AND m.member_account = $2 AND m.leave_time IS NULL
"""

# Who took a share took its contribution along.
_SHARES = """
SELECT m.member_bucket = $3 AND m.member_account = $4 AND m.leave_time IS NULL, m.contributed
FROM pool_member m WHERE m.bucket = $1 AND m.account = $2 AND NOT m.took_share
"""

_STAYS = """
SELECT coalesce(d.member, ''), m.member_bucket, m.member_account, m.role, m.join_time, m.leave_time,
    m.contributed, m.entry
FROM pool_member m
JOIN account a ON a.bucket = m.member_bucket AND a.id = m.member_account
LEFT JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
WHERE m.bucket = $1 AND m.account = $2 AND ($3 OR m.leave_time IS NULL)
    AND (m.join_time, m.member_account, m.entry) > ($4, $5, $6)
ORDER BY m.join_time, m.member_account, m.entry
LIMIT $7
"""

# Of the account that it was merged into at last: the other ones have no stays any more.
_POOLED_AT = """
WITH RECURSIVE chain AS (
    SELECT bucket, id, link, link_bucket, link_account FROM account WHERE bucket = $1 AND id = $2
    UNION ALL
    SELECT a.bucket, a.id, a.link, a.link_bucket, a.link_account
    FROM chain c JOIN account a ON a.bucket = c.link_bucket AND a.id = c.link_account
    WHERE c.link = 1
)
SELECT p.bucket, p.account, p.id, m.join_time <= $3 AND coalesce(m.leave_time > $3, true),
    m.leave_time IS NULL
FROM chain c
JOIN pool_member m ON m.member_bucket = c.bucket AND m.member_account = c.id
JOIN pool p ON p.bucket = m.bucket AND p.account = m.account
WHERE c.link IS DISTINCT FROM 1 AND (p.rules ->> 'pooling')::boolean
ORDER BY m.join_time, m.entry
"""

_CONTRIBUTED = seal(STAY, "m", contributed="k.contributed::bigint[]")

_CONTRIBUTE = f"""
UPDATE pool_member m SET contributed = k.contributed::bigint[], seal = {_CONTRIBUTED}
FROM unnest($1::int[], $2::bigint[], $3::text[]) AS k (bucket, account, contributed)
WHERE m.member_bucket = k.bucket AND m.member_account = k.account AND m.leave_time IS NULL
"""


def rules_to_json(rules: GroupRules) -> str:
    """What is stored of a group's rules."""
    return json.dumps(
        {
            "roles": {role: [each.name for each in sorted(some)] for role, some in rules.roles},
            "order": [role for role, _ in rules.roles],
            "pooling": rules.pooling,
            "on_join": rules.on_join.name,
            "on_leave": rules.on_leave.name,
        }
    )


@lru_cache(maxsize=10_000)
def rules_from_json(text: str) -> GroupRules:
    """The rules that `rules_to_json` stored."""
    stored = json.loads(text)
    return GroupRules(
        roles=tuple(
            (role, frozenset(Permission[name] for name in stored["roles"][role]))
            for role in stored["order"]
        ),
        pooling=stored["pooling"],
        on_join=OnJoin[stored["on_join"]],
        on_leave=OnLeave[stored["on_leave"]],
    )


async def contribute(connection: Connection, contributed: Mapping[Key, list[int]]) -> None:
    """Write what members contributed to their groups, by the members' accounts."""
    await connection.execute(
        _CONTRIBUTE,
        [bucket for bucket, _ in contributed],
        [account for _, account in contributed],
        ["{" + ",".join(map(str, numbers)) + "}" for numbers in contributed.values()],
    )


def _pool(row: asyncpg.Record) -> Pool:
    return Pool(
        key=(row[0], row[1]),
        program=row[2],
        id=row[3],
        kind=AccountKind(row[4]),
        display_name=row[5],
        rules=rules_from_json(row[6]),
        create_time=row[7],
    )


async def create(connection: Connection, pool: Pool) -> None:
    """Make an account, which is locked, that of a group."""
    rules = rules_to_json(pool.rules)
    await connection.execute(_KIND, *pool.key, pool.kind)
    await connection.execute(
        _CREATE, *pool.key, pool.program, pool.id, pool.kind, pool.display_name, rules,
        pool.create_time,
    )  # fmt: skip


async def find(connection: Connection, key: Key) -> Pool | None:
    """The group that has an account, if it is one's."""
    row = await connection.fetchrow(_FIND, *key)
    return None if row is None else _pool(row)


async def update(connection: Transaction, pool: Pool) -> None:
    """Write a group's name and rules."""
    await connection.execute(
        _UPDATE,
        {
            "bucket": pool.key[0],
            "account": pool.key[1],
            "display_name": pool.display_name,
            "rules": rules_to_json(pool.rules),
        },
    )


async def page(connection: Connection, program: int, after: str, limit: int) -> list[Pool]:
    """At most `limit` groups of a program with greater ids, in order."""
    return [_pool(row) for row in await connection.fetch(_LIST, program, after, limit)]


async def join(
    connection: Connection,
    group: Key,
    stay: tuple[Key, int, str, datetime],
    brought: Sequence[int],
) -> None:
    """Begin a stay, (member, its entry, role, time); both accounts are locked."""
    member, *more = stay
    await connection.execute(_JOIN, *group, *member, *more, list(brought))


async def leave(
    connection: Connection, member: Key, leave_time: datetime, *, took_share: bool
) -> None:
    """End a member's stay; both accounts are locked."""
    await connection.execute(_LEAVE, *member, leave_time, took_share)


class PooledIn(NamedTuple):
    """The account where a member's points are, and the group whose it is."""

    key: Key
    member: str


async def pooled_at(
    connection: Connection, own: Key, instant: datetime
) -> tuple[PooledIn | None, PooledIn | None]:
    """The group that pooled an account's member at an instant, and the one that does now."""
    then = now = None
    for *key, group, was_then, is_now in await connection.fetch(_POOLED_AT, *own, instant):
        pooled = PooledIn((key[0], key[1]), group)
        then = pooled if was_then else then
        now = pooled if is_now else now
    return then, now


async def group_of(connection: Connection, member: Key) -> str | None:
    """The group that an account's member belongs to."""
    group: str | None = await connection.fetchval(_NOW_IN, *member)
    return group


async def shares(connection: Connection, group: Key, member: Key) -> dict[int, tuple[int, int]]:
    """What a member contributed to what is there, and what all did, by currency number.

    Who reversed more than it gave contributed nothing.
    """
    shares: dict[int, tuple[int, int]] = {}
    for mine, contributed in await connection.fetch(_SHARES, *group, *member):
        for currency, points in enumerate(contributed):
            own, everyone = shares.get(currency, (0, 0))
            given = max(0, points)
            shares[currency] = (own + given if mine else own, everyone + given)
    return shares


async def stays(
    connection: Connection,
    group: Key,
    after: tuple[datetime, int, int],
    limit: int,
    *,
    former: bool,
) -> list[Stay]:
    """At most `limit` stays after one, in the order of joining."""
    rows = await connection.fetch(_STAYS, *group, former, *after, limit)
    return [
        Stay(row[0], (row[1], row[2]), row[3], row[4], row[5], tuple(row[6]), row[7])
        for row in rows
    ]

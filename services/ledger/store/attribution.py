"""Whose doing it was in an account of several: a person's accounts, and what they did there."""

from collections.abc import Collection
from dataclasses import dataclass

import asyncpg

from chassis.database import Connection
from services.ledger.domain.account import Link
from services.ledger.domain.groups import GroupRules
from services.ledger.store import history, pools
from services.ledger.store.accounts import Key
from services.ledger.store.history import StoredEntry, Stretch

# From a member's own account up to the one that it was merged into, and down to all merged there.
_PERSON = f"""
WITH RECURSIVE up (bucket, id) AS (
    SELECT $1::int, $2::bigint
    UNION
    SELECT a.link_bucket, a.link_account
    FROM up JOIN account a ON a.bucket = up.bucket AND a.id = up.id AND a.link = {Link.MERGED:d}
), person (bucket, id) AS (
    SELECT bucket, id FROM up
    UNION
    SELECT a.bucket, a.id
    FROM person p
    JOIN account a
        ON a.link_bucket = p.bucket AND a.link_account = p.id AND a.link = {Link.MERGED:d}
)
SELECT bucket, id FROM person ORDER BY bucket, id
"""

_STAYS = """
SELECT m.role, p.rules, m.leave_time IS NULL
FROM unnest($3::int[], $4::bigint[]) AS k (bucket, account)
JOIN pool_member m ON m.bucket = $1 AND m.account = $2
    AND m.member_bucket = k.bucket AND m.member_account = k.account
JOIN pool p ON p.bucket = m.bucket AND p.account = m.account
"""

# Postings of an account come one after the other in its bucket's stream, as their entries do.
_BOUNDS = """
SELECT coalesce(min(posting) FILTER (WHERE sequence = $3), 0),
    coalesce(max(posting) FILTER (WHERE sequence = $4), 0)
FROM entry WHERE bucket = $1 AND account = $2 AND sequence IN ($3, $4)
"""

_DOINGS = """
SELECT x.sequence, x.first_entry, x.first_entry + x.entry_count - 1
FROM unnest($5::int[], $6::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT sequence, first_entry, entry_count FROM posting
    WHERE bucket = $1 AND account = $2 AND addressee_bucket = k.bucket AND addressee = k.account
        AND sequence BETWEEN $3 AND $4
    ORDER BY sequence {order}
    LIMIT $7
) x
ORDER BY x.sequence {order}
LIMIT $7
"""
_OLDEST_FIRST, _NEWEST_FIRST = (_DOINGS.format(order=order) for order in ("ASC", "DESC"))

# Every row by its whole key: no plan can be made of it that reads a whole account.
_ENTRIES = f"""
SELECT {history.ENTRY_COLUMNS}, {history.POSTING_COLUMNS}
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS k (bucket, account, sequence, posting)
JOIN entry e ON e.bucket = k.bucket AND e.account = k.account AND e.sequence = k.sequence
JOIN posting p ON p.bucket = k.bucket AND p.sequence = k.posting
WHERE ($5::smallint IS NULL OR e.currency = $5) AND ($6::smallint[] IS NULL OR e.kind = ANY ($6))
"""

# So many postings are looked through at once where few of them have what is looked for.
_POSTINGS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay in a group: the role, the group's rules as they are, and whether it goes on."""

    role: str
    rules: GroupRules
    now: bool


def _columns(keys: Collection[Key]) -> tuple[list[int], list[int]]:
    return [bucket for bucket, _ in keys], [account for _, account in keys]


async def accounts_of_person(connection: Connection, key: Key) -> tuple[Key, ...]:
    """All accounts that are one person's by merging, of which one is given."""
    return tuple((row[0], row[1]) for row in await connection.fetch(_PERSON, *key))


async def stays_of(connection: Connection, group: Key, keys: Collection[Key]) -> list[Stay]:
    """The stays of accounts' members in a group, former ones too."""
    rows = await connection.fetch(_STAYS, *group, *_columns(keys))
    return [Stay(row[0], pools.rules_from_json(row[1]), row[2]) for row in rows]


async def entries_of(
    connection: Connection, stretch: Stretch, addressees: Collection[Key], limit: int
) -> list[StoredEntry]:
    """At most `limit` entries whose doing was that of some members, with lots' ids."""
    statement = _NEWEST_FIRST if stretch.newest_first else _OLDEST_FIRST
    bounds = await connection.fetchrow(_BOUNDS, *stretch.key, stretch.after, stretch.until)
    assert bounds is not None
    low, high = bounds
    found: list[asyncpg.Record] = []
    wanted = limit
    while len(found) < limit:
        doings = await connection.fetch(
            statement, *stretch.key, low, high, *_columns(addressees), wanted
        )
        named = [
            (entry, posting)
            for posting, first, last in doings
            for entry in range(max(first, stretch.after + 1), min(last, stretch.until) + 1)
        ]
        bucket, account = stretch.key
        entries = await connection.fetch(
            _ENTRIES,
            [bucket] * len(named),
            [account] * len(named),
            [entry for entry, _ in named],
            [posting for _, posting in named],
            stretch.currency,
            stretch.kinds,
        )
        found += sorted(entries, key=_sequence, reverse=stretch.newest_first)
        if len(doings) < wanted:
            break
        last = doings[-1][0]
        low, high = (low, last - 1) if stretch.newest_first else (last + 1, high)
        wanted = _POSTINGS_AT_ONCE
    return await history.stored_entries(connection, stretch.key, found[:limit])


def _sequence(row: asyncpg.Record) -> int:
    sequence: int = row[2]
    return sequence

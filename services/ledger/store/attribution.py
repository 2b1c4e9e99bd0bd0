"""Whose doing it was in an account of several: a person's accounts, and what they did there."""

from collections.abc import Collection
from dataclasses import dataclass

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
_ENTRIES = f"""
SELECT {history.ENTRY_COLUMNS}, {history.POSTING_COLUMNS}
FROM unnest($5::int[], $6::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT p.sequence, e.sequence AS entry
    FROM posting p
    JOIN entry e ON e.bucket = p.bucket AND e.account = p.account
        AND e.sequence >= p.first_entry AND e.sequence < p.first_entry + p.entry_count
    WHERE p.bucket = $1 AND p.account = $2
        AND p.addressee_bucket = k.bucket AND p.addressee = k.account
        AND p.sequence BETWEEN coalesce((
            SELECT posting FROM entry WHERE bucket = $1 AND account = $2 AND sequence = $3
        ), 0) AND coalesce((
            SELECT posting FROM entry WHERE bucket = $1 AND account = $2 AND sequence = $4
        ), {2**63 - 1})
        AND e.sequence > $3 AND e.sequence <= $4
        AND ($7::smallint IS NULL OR e.currency = $7)
        AND ($8::smallint[] IS NULL OR e.kind = ANY ($8))
    ORDER BY p.sequence {{order}}, e.sequence {{order}}
    LIMIT $9
) x
JOIN posting p ON p.bucket = $1 AND p.sequence = x.sequence
JOIN entry e ON e.bucket = $1 AND e.account = $2 AND e.sequence = x.entry
ORDER BY e.sequence {{order}}
LIMIT $9
"""
_OLDEST_FIRST, _NEWEST_FIRST = (_ENTRIES.format(order=order) for order in ("ASC", "DESC"))


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
    rows = await connection.fetch(
        _NEWEST_FIRST if stretch.newest_first else _OLDEST_FIRST,
        *stretch.key, stretch.after, stretch.until, *_columns(addressees), stretch.currency,
        stretch.kinds, limit,
    )  # fmt: skip
    return await history.stored_entries(connection, stretch.key, rows)

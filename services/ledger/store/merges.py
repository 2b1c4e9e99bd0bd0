"""People that are merged: their rows of the directory, and their accounts in all programs."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.database import Connection
from services.ledger.store import rare
from services.ledger.store.accounts import Key, Loaded, whole_month
from services.ledger.store.directory import Name
from services.ledger.store.seals import PERSON, seal

Person = tuple[int, int]
"""(bucket, person)."""

# Whoever makes an account for a person holds its row, so the list of its accounts is complete.
_LOCK_NAMES = """
SELECT d.bucket, d.person
FROM unnest($1::int[], $2::text[], $3::text[]) AS k (name_bucket, organization, member)
JOIN directory d
    ON d.name_bucket = k.name_bucket AND d.organization = k.organization AND d.member = k.member
ORDER BY d.name_bucket, d.organization, d.member
FOR UPDATE OF d
"""

# After the lock: a row that was joined before it would be as it was then.
_NAMES = """
SELECT k.place, d.bucket, d.person, i.member
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY
    AS k (name_bucket, organization, member, place)
JOIN directory d
    ON d.name_bucket = k.name_bucket AND d.organization = k.organization AND d.member = k.member
LEFT JOIN directory i ON i.bucket = d.into_bucket AND i.person = d.into_person
"""

_LOCK_ALIASES = """
SELECT d.name_bucket FROM directory d WHERE d.into_bucket = $1 AND d.into_person = $2
ORDER BY d.name_bucket, d.organization, d.member
FOR UPDATE
"""

_ACCOUNTS = """
SELECT a.bucket, a.id, a.person, p.key, p.id
FROM program p
CROSS JOIN unnest($2::int[], $3::bigint[]) AS k (bucket, person)
JOIN account a ON a.bucket = k.bucket AND a.program = p.key AND a.person = k.person
WHERE p.organization = $1
"""

_INTO_SEAL = seal(PERSON, "d", into_bucket="$3::int", into_person="$4::bigint")

_REDIRECT = f"""
UPDATE directory d SET into_bucket = $3::int, into_person = $4::bigint, seal = {_INTO_SEAL}
WHERE (bucket = $1 AND person = $2) OR (into_bucket = $1 AND into_person = $2)
"""

_COUNTERS = "SELECT counter, month, days FROM counter WHERE bucket = $1 AND account = $2"

# Lots of which nothing is left, and that returns and what comes back still ask for.
_MARKED_LOTS = f"""
SELECT {rare.WHOLE_LOT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN lot l ON l.bucket = k.bucket AND l.account = k.account AND NOT l.open
    AND l.claim + l.covered + l.repaid + l.expired > 0
"""

# Accounts that have points of lots of other ones; 1 is Link.MERGED.
_HOLDERS = """
SELECT DISTINCT a.bucket, a.id
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, account, sequence)
JOIN lot l ON l.origin_bucket = k.bucket AND l.origin_account = k.account
    AND l.origin_sequence = k.sequence
JOIN account a ON a.bucket = l.bucket AND a.id = l.account AND a.link IS DISTINCT FROM 1
"""

# Redemptions that drew from lots (kinds REDEEMED and CAPTURED), and how much of each came back.
_SPENT = """
SELECT e.draw_lots, e.draw_points, coalesce(r.reversed, 0)
FROM entry e
LEFT JOIN reversal r ON r.bucket = e.bucket AND r.account = e.account AND r.entry = e.sequence
WHERE e.bucket = $1 AND e.account = $2 AND e.sequence > $4 AND e.kind IN (3, 10)
    AND e.draw_lots && $3::bigint[]
"""

_HELD = """
SELECT sequence, held FROM lot WHERE bucket = $1 AND account = $2 AND sequence = ANY($3::bigint[])
"""

_IDENTIFIERS = """
UPDATE identifier SET bucket = $3, person = $4 WHERE bucket = $1 AND person = $2
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A person, and the member that it was merged into, if it was."""

    person: Person
    into: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """An account of a person, and its program by key and id."""

    key: Key
    person: Person
    program: int
    program_id: str


async def lock_people(
    connection: Connection, names: Sequence[Name], *, lock: bool
) -> dict[Name, Known]:
    """The people of some names, and with `lock` nobody else merges or enrols them meanwhile."""
    columns = (
        [name.name_bucket for name in names],
        [name.organization for name in names],
        [name.member for name in names],
    )
    if lock:
        people = {tuple(row) for row in await connection.fetch(_LOCK_NAMES, *columns)}
        for person in sorted(people):
            await connection.fetch(_LOCK_ALIASES, *person)
    rows = await connection.fetch(_NAMES, *columns)
    return {names[row[0] - 1]: Known((row[1], row[2]), row[3]) for row in rows}


async def accounts_of(
    connection: Connection, organization: str, people: Sequence[Person]
) -> list[Place]:
    """The accounts of people in all programs of their organization."""
    rows = await connection.fetch(
        _ACCOUNTS,
        organization,
        [bucket for bucket, _ in people],
        [person for _, person in people],
    )
    return [Place((row[0], row[1]), (row[0], row[2]), row[3], row[4]) for row in rows]


async def counters_of(connection: Connection, key: Key) -> dict[tuple[int, int], list[int]]:
    """All months of all counters of an account, by (counter, month)."""
    rows = await connection.fetch(_COUNTERS, *key)
    return {(row[0], row[1]): whole_month(row[2]) for row in rows}


async def load_marked_lots(
    connection: Connection, accounts: dict[Key, Loaded], keys: Sequence[Key]
) -> None:
    """Load lots of which nothing is left but claims, and what expired or repaid debt."""
    columns = [bucket for bucket, _ in keys], [account for _, account in keys]
    for row in await connection.fetch(_MARKED_LOTS, *columns):
        accounts[row[0], row[1]].account.lots[row[2]] = rare.whole_lot_of(row)


async def holders(connection: Connection, roots: Sequence[tuple[int, int, int]]) -> set[Key]:
    """The accounts that have, or had, points of lots of other accounts."""
    columns = [list(column) for column in zip(*roots, strict=True)]
    return {(row[0], row[1]) for row in await connection.fetch(_HOLDERS, *columns)}


async def spent_of(connection: Connection, key: Key, lots: Sequence[int]) -> dict[int, int]:
    """How many points may still come back to lots: what holds and redemptions drew from them."""
    if not lots:
        return {}
    spent = {row[0]: row[1] for row in await connection.fetch(_HELD, *key, lots)}
    for drawn, points, returned in await connection.fetch(_SPENT, *key, lots, lots[0]):
        left = sum(points) - returned
        # The last drawn comes back first.
        for lot, part in zip(drawn, points, strict=True):
            still = min(part, left)
            left -= still
            if lot in spent:
                spent[lot] += still
    return spent


async def redirect(connection: Connection, person: Person, into: Person) -> None:
    """From now on whoever was this person, or had become it, is another one."""
    await connection.execute(_REDIRECT, *person, *into)
    await connection.execute(_IDENTIFIERS, *person, *into)

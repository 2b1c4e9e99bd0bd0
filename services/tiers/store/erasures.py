"""Forgetting a member, and the place of that in the stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection
from services.tiers.store.changes import Stretch, columns, lock_heads, move_heads
from services.tiers.store.memberships import Key

_SEEN = "SELECT 1 FROM erasure WHERE ledger_bucket = $1 AND ledger_sequence = $2"

# By the ladders of the organization, of which each program has one, so that rows are found by keys.
_DELETE = """
DELETE FROM membership m USING ladder l
WHERE l.organization = $2 AND m.bucket = $1 AND m.organization = l.organization
    AND m.program = l.program AND m.ladder = l.id AND m.member = $3
"""

_SCRUB = """
UPDATE change c SET member = ''
FROM ladder l
WHERE l.organization = $2 AND c.bucket = $1 AND c.organization = l.organization
    AND c.program = l.program AND c.member = $3
"""

_INSERT = """
INSERT INTO erasure (
    bucket, sequence, organization, member, record_time, ledger_bucket, ledger_sequence
) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_STRETCHES = """
SELECT e.bucket, e.sequence, e.record_time, e.organization, coalesce(e.member, '')
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, after, until)
JOIN erasure e ON e.bucket = k.bucket AND e.sequence > k.after AND e.sequence <= k.until
WHERE $4::text IS NULL OR e.organization = $4
"""

_SINCE = """
SELECT EXISTS (
    SELECT FROM unnest($1::int[], $2::text[], $3::text[]) AS k (bucket, organization, member)
    JOIN erasure e ON e.bucket = k.bucket AND e.organization = k.organization
        AND e.member = k.member
    WHERE e.record_time >= $4
)
"""

_FORGET = "UPDATE erasure SET member = NULL WHERE member IS NOT NULL AND record_time < $1"


@dataclass(frozen=True, slots=True)
class Gone:
    """A member who was erased, by the ledger's change at this place, (bucket, sequence)."""

    bucket: int
    organization: str
    member: str
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Erasure:
    """That a member was erased, in its place in the stream; empty where that is forgotten."""

    bucket: int
    sequence: int
    record_time: datetime
    organization: str
    member: str


async def seen(connection: Connection, gone: Gone) -> bool:
    """Whether this was done before."""
    return await connection.fetchval(_SEEN, *gone.place) is not None


async def erase(connection: Connection, gone: Gone, record_time: datetime) -> None:
    """Forget where a member stands and stood, and publish it; the last step of a transaction."""
    whose = (gone.bucket, gone.organization, gone.member)
    await connection.execute(_DELETE, *whose)
    # Rows are locked before heads, as everywhere. Who wrote one meanwhile is seen from here on.
    heads = await lock_heads(connection, [gone.bucket])
    await connection.execute(_DELETE, *whose)
    await connection.execute(_SCRUB, *whose)
    heads[gone.bucket] += 1
    await move_heads(connection, heads)
    await connection.execute(
        _INSERT,
        gone.bucket,
        heads[gone.bucket],
        gone.organization,
        gone.member,
        record_time,
        *gone.place,
    )


async def read(
    connection: Connection, stretches: Sequence[Stretch], organization: str | None
) -> list[Erasure]:
    """The erasures in stretches, of one organization or (None) of all."""
    rows = await connection.fetch(_STRETCHES, *columns(stretches), organization)
    return [Erasure(*row) for row in rows]


async def any_since(connection: Connection, keys: Sequence[Key], instant: datetime) -> bool:
    """Whether one of these members was erased at or after an instant; their heads are locked."""
    return bool(
        await connection.fetchval(
            _SINCE,
            [key.bucket for key in keys],
            [key.organization for key in keys],
            [key.member for key in keys],
            instant,
        )
    )


async def forget(connection: Connection, before: datetime) -> int:
    """Forget who was erased before an instant; how many ids."""
    status = await connection.execute(_FORGET, before)
    return int(status.split()[-1])

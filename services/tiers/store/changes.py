"""The stream of changes: it is a member's history, too.

`(bucket, sequence)` has no gaps and follows commit order: publishing is the last step of a
transaction, and holds the heads of its buckets, locked in order, until commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis.database import Connection
from services.tiers.domain.membership import Cause, Move
from services.tiers.store.ladders import InForce, Program

_LOCK_HEADS = """
SELECT bucket, sequence FROM head WHERE bucket = ANY($1::int[]) ORDER BY bucket
FOR NO KEY UPDATE
"""

_ADVANCE = """
UPDATE head SET sequence = k.sequence
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, sequence)
WHERE head.bucket = k.bucket
"""

# Lists of lists do not pass through `unnest`: a change's criteria come as a text like `{1,2}`.
_INSERT = """
INSERT INTO change (
    bucket, sequence, organization, program, record_time, ladder, ladder_version, member,
    from_tier, to_tier, cause, effective_time, criteria
)
SELECT bucket, sequence, organization, program, $5, ladder, ladder_version, member,
    from_tier, to_tier, cause, effective_time, criteria::bigint[]
FROM unnest(
    $1::int[], $2::bigint[], $3::text[], $4::text[], $6::text[], $7::bigint[], $8::text[],
    $9::text[], $10::text[], $11::smallint[], $12::timestamptz[], $13::text[]
) AS k (
    bucket, sequence, organization, program, ladder, ladder_version, member,
    from_tier, to_tier, cause, effective_time, criteria
)
"""

_COLUMNS = """
bucket, sequence, organization, program, record_time, ladder, ladder_version, member,
from_tier, to_tier, cause, effective_time, criteria
"""

_HEADS = "SELECT bucket, sequence FROM head WHERE bucket = ANY($1::int[])"

_STRETCHES = f"""
SELECT c.*
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, after, until)
CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM change
    WHERE bucket = k.bucket AND sequence > k.after AND sequence <= k.until
    ORDER BY sequence
) c
WHERE $4::text IS NULL OR c.organization = $4
"""

_HISTORY = f"""
SELECT {_COLUMNS} FROM change
WHERE bucket = $1 AND organization = $2 AND program = $3 AND member = $4 AND sequence < $5
ORDER BY sequence DESC
LIMIT $6
"""

_COUNT = """
SELECT count(*)
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, after)
JOIN change c ON c.bucket = k.bucket AND c.sequence > k.after
WHERE c.organization = $3 AND c.program = $4 AND c.member IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is published: a member's move, or, without one, that a ladder is another one.

    `member` is empty where it was erased since.
    """

    bucket: int
    program: Program
    ladder: InForce
    member: str | None = None
    move: Move | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A fact in its place in the stream."""

    fact: Fact
    sequence: int
    record_time: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a bucket's stream after one sequence, up to and including another."""

    bucket: int
    after: int
    until: int


async def lock_heads(connection: Connection, buckets: Iterable[int]) -> dict[int, int]:
    """Lock the heads of buckets, in order, until commit; the last sequence of each."""
    return {row[0]: row[1] for row in await connection.fetch(_LOCK_HEADS, sorted(buckets))}


async def move_heads(connection: Connection, heads: Mapping[int, int]) -> None:
    """Write the last sequences of buckets whose heads are locked."""
    await connection.execute(_ADVANCE, list(heads), list(heads.values()))


async def publish(connection: Connection, facts: Sequence[Fact], record_time: datetime) -> None:
    """Append facts in order; the last step of a transaction."""
    if not facts:
        return
    heads = await lock_heads(connection, {fact.bucket for fact in facts})
    sequences = []
    for fact in facts:
        heads[fact.bucket] += 1
        sequences.append(heads[fact.bucket])
    await move_heads(connection, heads)
    moves = [fact.move for fact in facts]
    await connection.execute(
        _INSERT,
        [fact.bucket for fact in facts],
        sequences,
        [fact.program.organization for fact in facts],
        [fact.program.id for fact in facts],
        record_time,
        [fact.ladder.ladder for fact in facts],
        [fact.ladder.version for fact in facts],
        [fact.member for fact in facts],
        [move and move.from_tier for move in moves],
        [move and move.to_tier for move in moves],
        [move and int(move.cause) for move in moves],
        [move and move.effective_time for move in moves],
        [move and "{" + ",".join(map(str, move.values)) + "}" for move in moves],
    )


async def heads(connection: Connection, buckets: Sequence[int]) -> Mapping[int, int]:
    """The last sequence of each bucket."""
    return {row[0]: row[1] for row in await connection.fetch(_HEADS, list(buckets))}


def columns(stretches: Sequence[Stretch]) -> tuple[list[int], list[int], list[int]]:
    """Stretches as the columns that `unnest` is given."""
    return (
        [stretch.bucket for stretch in stretches],
        [stretch.after for stretch in stretches],
        [stretch.until for stretch in stretches],
    )


async def read(
    connection: Connection, stretches: Sequence[Stretch], organization: str | None
) -> list[Change]:
    """The changes in stretches, of one organization or (None) of all."""
    rows = await connection.fetch(_STRETCHES, *columns(stretches), organization)
    return [_change(tuple(row)) for row in rows]


async def history(
    connection: Connection,
    bucket: int,
    program: Program,
    member: str,
    before: int,
    limit: int,
) -> list[Change]:
    """At most `limit` changes of a member before a sequence, the latest first."""
    return [
        _change(tuple(row))
        for row in await connection.fetch(_HISTORY, bucket, *program, member, before, limit)
    ]


async def count_moves(connection: Connection, program: Program, after: Mapping[int, int]) -> int:
    """How many moves of a program's members were published after these heads."""
    count: int = await connection.fetchval(_COUNT, list(after), list(after.values()), *program)
    return count


def _change(row: Sequence[Any]) -> Change:
    (
        bucket, sequence, organization, program, record_time, ladder, version, member,
        from_tier, to_tier, cause, effective_time, criteria,
    ) = row  # fmt: skip
    move = None
    if member is not None:
        values = tuple(criteria)
        move = Move(from_tier, to_tier, Cause(cause), effective_time, version, values)
    fact = Fact(bucket, Program(organization, program), InForce(ladder, version), member, move)
    return Change(fact, sequence, record_time)

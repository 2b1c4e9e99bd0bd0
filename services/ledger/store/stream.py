"""The ledger's change stream: where its heads are, and what lies behind a cursor."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from chassis.database import Connection

_HEADS = "SELECT bucket, sequence FROM head WHERE bucket = ANY($1::int[])"

# Postings, changes of programs and erasures share their bucket's sequences; each page is in order.
_POSTINGS = """
SELECT p.bucket, p.sequence, p.program, g.organization, g.id
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, after, until)
CROSS JOIN LATERAL (
    SELECT bucket, sequence, program FROM posting
    WHERE bucket = k.bucket AND sequence > k.after AND sequence <= k.until
    ORDER BY sequence
) p
JOIN program g ON g.key = p.program
"""

# In one statement: a follower asks for each page. Only an erasure is of no program.
_OTHERS = """
WITH k AS MATERIALIZED (
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, after, until)
)
SELECT c.bucket, c.sequence, c.record_time, g.organization, g.id, c.revision
FROM k
JOIN program_change c
    ON c.bucket = k.bucket AND c.sequence > k.after AND c.sequence <= k.until
JOIN program g ON g.key = c.program
UNION ALL
SELECT e.bucket, e.sequence, e.record_time, e.organization, coalesce(e.member, ''), NULL
FROM k
JOIN erasure e ON e.bucket = k.bucket AND e.sequence > k.after AND e.sequence <= k.until
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a bucket's stream after one sequence, up to and including another."""

    bucket: int
    after: int
    until: int


@dataclass(frozen=True, slots=True)
class PostingPlace:
    """Where a posting is in the stream, and whose it is."""

    bucket: int
    sequence: int
    organization: str
    program: str


@dataclass(frozen=True, slots=True)
class ProgramMove:
    """A program's configuration became another one."""

    bucket: int
    sequence: int
    record_time: datetime
    organization: str
    program: str
    revision: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """An id became nobody's; empty where that was so long ago that it is forgotten."""

    bucket: int
    sequence: int
    record_time: datetime
    organization: str
    member: str


Kinds = Collection[type[PostingPlace | ProgramMove | Erasure]]
ALL: Kinds = (PostingPlace, ProgramMove, Erasure)


async def heads(connection: Connection, buckets: Sequence[int]) -> Mapping[int, int]:
    """The last sequence of each bucket."""
    return {row[0]: row[1] for row in await connection.fetch(_HEADS, list(buckets))}


async def moves(
    connection: Connection, stretches: Sequence[Stretch], kinds: Kinds = ALL
) -> tuple[list[PostingPlace], list[ProgramMove | Erasure]]:
    """What happened in stretches of the stream: postings' places, and everything else.

    Only of these kinds.
    """
    columns = (
        [stretch.bucket for stretch in stretches],
        [stretch.after for stretch in stretches],
        [stretch.until for stretch in stretches],
    )
    places: list[PostingPlace] = []
    others: list[ProgramMove | Erasure] = []
    if PostingPlace in kinds:
        rows = await connection.fetch(_POSTINGS, *columns)
        places = [PostingPlace(row[0], row[1], row[3], row[4]) for row in rows]
    if ProgramMove in kinds or Erasure in kinds:
        others = [_other(row) for row in await connection.fetch(_OTHERS, *columns)]
    return places, [other for other in others if type(other) in kinds]


def _other(row: asyncpg.Record) -> ProgramMove | Erasure:
    bucket, sequence, record_time, organization, name, revision = row
    if revision is None:
        return Erasure(bucket, sequence, record_time, organization, name)
    return ProgramMove(bucket, sequence, record_time, organization, name, revision)

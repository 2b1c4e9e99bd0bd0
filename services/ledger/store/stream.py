"""The ledger's change stream: where its heads are, and what lies behind a cursor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection

_HEADS = "SELECT bucket, sequence FROM head WHERE bucket = ANY($1::int[])"

# Postings and changes of programs share their bucket's sequences; each page is in order.
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

_PROGRAM_CHANGES = """
SELECT c.bucket, c.sequence, c.revision, c.record_time, g.organization, g.id
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, after, until)
JOIN program_change c
    ON c.bucket = k.bucket AND c.sequence > k.after AND c.sequence <= k.until
JOIN program g ON g.key = c.program
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
    revision: int
    record_time: datetime
    organization: str
    program: str


async def heads(connection: Connection, buckets: Sequence[int]) -> Mapping[int, int]:
    """The last sequence of each bucket."""
    return {row[0]: row[1] for row in await connection.fetch(_HEADS, list(buckets))}


async def moves(
    connection: Connection, stretches: Sequence[Stretch]
) -> tuple[list[PostingPlace], list[ProgramMove]]:
    """What happened in stretches of the stream: postings' places, and changes of programs."""
    columns = (
        [stretch.bucket for stretch in stretches],
        [stretch.after for stretch in stretches],
        [stretch.until for stretch in stretches],
    )
    places = await connection.fetch(_POSTINGS, *columns)
    changes = await connection.fetch(_PROGRAM_CHANGES, *columns)
    return (
        [PostingPlace(row[0], row[1], row[3], row[4]) for row in places],
        [ProgramMove(*row) for row in changes],
    )

"""Taking a person out of the event log, and how far it is known who is to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection

_CURSORS = "SELECT bucket, sequence FROM followed WHERE stream = $1"

# In order, so that two processes that save at once never wait for each other's rows.
_SAVE = """
INSERT INTO followed (stream, bucket, sequence)
SELECT $1, bucket, sequence FROM unnest($2::int[], $3::bigint[]) AS k (bucket, sequence)
ORDER BY bucket
ON CONFLICT (stream, bucket) DO UPDATE
SET sequence = greatest(followed.sequence, excluded.sequence)
"""

_FIND = """
SELECT event.program, event.id, event.type, event.state, event.posting, event.refusal
FROM program
CROSS JOIN LATERAL (
    SELECT * FROM event
    WHERE event.program = program.key AND event.member = $2 AND event.create_time < $3
    ORDER BY event.number, event.id
    LIMIT $4
    FOR NO KEY UPDATE
) event
WHERE program.organization = $1
LIMIT $4
"""

# Visits before events, as where they are written: everybody takes locks in one order.
_VISITS = """
DELETE FROM visit USING unnest($1::bigint[], $2::text[]) AS given (program, event)
WHERE visit.program = given.program AND visit.member = $3 AND visit.event = given.event
"""

# One more attempt, so that whoever is at work on the event writes nothing any more.
_SCRUB = """
UPDATE event SET
    member = '', store = '', digest = '', visit_day = NULL, due_time = NULL,
    attempt = event.attempt + 1,
    content = given.content, posting = given.posting, refusal = given.refusal,
    state = CASE WHEN event.state < 3 THEN 4 ELSE event.state END,
    post = CASE WHEN event.state = 3 AND event.post IS NOT NULL THEN ''::bytea END
FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::text[])
    AS given (program, id, content, posting, refusal)
WHERE event.program = given.program AND event.id = given.id
"""


@dataclass(frozen=True, slots=True)
class Named:
    """What an event says of its member besides its content."""

    program: int
    id: str
    type: str
    done: bool
    posting: bytes | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What is kept of an event."""

    event: Named
    content: bytes
    posting: bytes | None
    refusal: str | None


async def cursors(connection: Connection, stream: str) -> dict[int, int]:
    """The last sequence followed of each bucket of a stream."""
    return {row[0]: row[1] for row in await connection.fetch(_CURSORS, stream)}


async def save_cursors(connection: Connection, stream: str, moved: Mapping[int, int]) -> None:
    """Move cursors forward."""
    await connection.execute(_SAVE, stream, list(moved), list(moved.values()))


async def find(
    connection: Connection, organization: str, member: str, before: datetime, limit: int
) -> list[Named]:
    """At most `limit` of a member's events in all programs that were logged before an instant.

    They are locked until commit.
    """
    rows = await connection.fetch(_FIND, organization, member, before, limit)
    return [Named(row[0], row[1], row[2], row[3] == 3, row[4], row[5]) for row in rows]


async def scrub(connection: Connection, member: str, events: Sequence[Scrubbed]) -> None:
    """Leave of a member's events, which are locked, what is given; unfinished ones are refused."""
    programs = [each.event.program for each in events]
    ids = [each.event.id for each in events]
    await connection.execute(_VISITS, programs, ids, member)
    await connection.execute(
        _SCRUB,
        programs,
        ids,
        [each.content for each in events],
        [each.posting for each in events],
        [each.refusal for each in events],
    )

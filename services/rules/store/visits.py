"""Which event counted a member's visit to a store on a local day."""

from collections.abc import Mapping, Sequence

from chassis.database import Connection
from services.rules.domain.events import Visit

# In the order of the key, so that two transactions never wait for each other's rows.
_CLAIM = """
INSERT INTO visit (program, member, store, day, event)
SELECT $1, member, store, day, event
FROM unnest($2::text[], $3::text[], $4::date[], $5::text[]) AS given (member, store, day, event)
ORDER BY member, store, day
ON CONFLICT (program, member, store, day) DO NOTHING
RETURNING event
"""

_RELEASE = """
DELETE FROM visit USING unnest($2::text[], $3::text[], $4::date[], $5::text[])
    AS given (member, store, day, event)
WHERE visit.program = $1 AND visit.member = given.member AND visit.store = given.store
    AND visit.day = given.day AND visit.event = given.event
"""


async def claim_visits(
    connection: Connection, program: int, visits: Mapping[str, Visit]
) -> set[str]:
    """Count visits for events, by their ids; answer the ids of those that are the first to."""
    rows = await connection.fetch(_CLAIM, program, *_columns(list(visits.items())))
    return {row["event"] for row in rows}


async def release_visits(
    connection: Connection, program: int, visits: Sequence[tuple[str, Visit]]
) -> None:
    """Give back the visits that refused events counted."""
    await connection.execute(_RELEASE, program, *_columns(visits))


def _columns(visits: Sequence[tuple[str, Visit]]) -> tuple[list[object], ...]:
    return (
        [visit.member for _, visit in visits],
        [visit.store for _, visit in visits],
        [visit.day for _, visit in visits],
        [event for event, _ in visits],
    )

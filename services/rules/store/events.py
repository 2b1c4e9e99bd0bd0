"""The event log: one row an event, from its logging to its end."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum

import asyncpg

from chassis.database import Connection
from kernel.refusals import MemberNotFound, Refusal, passed_on
from services.rules.domain.evaluate import Step


class State(IntEnum):
    """How far an event has come; the numbers of the contract."""

    LOGGED = 1
    DECIDED = 2
    DONE = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A row. `trace` and `refusal` are as they are stored: see `trace_of` and `refusal_of`.

    `post` is the request that the ledger is sent, and `posting` what it answered, in bytes.
    """

    id: str
    number: int
    member: str
    type: str
    store: str
    state: State
    attempt: int
    digest: bytes
    content: bytes
    effective_time: datetime
    create_time: datetime
    actor: str
    ruleset: int = 0
    trace: str = "[]"
    visit_day: date | None = None
    post: bytes | None = None
    posting: bytes | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An event that a job takes up, with whose it is."""

    organization: str
    program: str
    event: LoggedEvent


_COLUMNS = """
id, number, member, type, store, state, attempt, digest, content, effective_time, create_time,
actor, ruleset, trace, visit_day, post, posting, refusal
"""

_FIND = f"SELECT {_COLUMNS} FROM event WHERE program = $1 AND id = ANY($2::text[])"

# In the order of their ids, so that two transactions never wait for each other's rows. A row that
# another one wrote since it was read stays as it is and is not answered.
_WRITE = """
INSERT INTO event (
    program, id, number, member, type, store, state, attempt, digest, content, effective_time,
    create_time, actor, ruleset, trace, visit_day, post, posting, refusal, due_time
)
SELECT
    $1, id, number, member, type, store, state, attempt, digest, content, effective_time,
    create_time, actor, ruleset, trace, visit_day, post, NULL, NULL,
    CASE WHEN state < 3 THEN $17::timestamptz END
FROM unnest(
    $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::integer[],
    $9::bytea[], $10::bytea[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::bigint[],
    $15::text[], $16::date[], $18::bytea[]
) AS given (
    id, number, member, type, store, state, attempt, digest, content, effective_time, create_time,
    actor, ruleset, trace, visit_day, post
)
ORDER BY id
ON CONFLICT (program, id) DO UPDATE SET
    number = EXCLUDED.number, member = EXCLUDED.member, type = EXCLUDED.type,
    store = EXCLUDED.store, state = EXCLUDED.state, attempt = EXCLUDED.attempt,
    digest = EXCLUDED.digest, content = EXCLUDED.content,
    effective_time = EXCLUDED.effective_time, create_time = EXCLUDED.create_time,
    actor = EXCLUDED.actor, ruleset = EXCLUDED.ruleset, trace = EXCLUDED.trace,
    visit_day = EXCLUDED.visit_day, post = EXCLUDED.post, posting = NULL, refusal = NULL,
    due_time = EXCLUDED.due_time
WHERE event.attempt = EXCLUDED.attempt - 1 AND event.state <> 3
RETURNING id
"""

# What was applied stays applied, whoever was refused meanwhile.
_FINISH = """
UPDATE event SET state = 3, posting = given.posting, refusal = NULL, due_time = NULL
FROM unnest($2::text[], $3::integer[], $4::bytea[]) AS given (id, attempt, posting)
WHERE event.program = $1 AND event.id = given.id AND event.attempt = given.attempt
    AND event.state <> 3
"""

_REFUSE = """
UPDATE event SET state = 4, refusal = given.refusal, visit_day = NULL, due_time = NULL
FROM unnest($2::text[], $3::integer[], $4::text[]) AS given (id, attempt, refusal)
WHERE event.program = $1 AND event.id = given.id AND event.attempt = given.attempt
    AND event.state IN (1, 2)
RETURNING event.id
"""

# Put off before they are taken up, so that no two processes work on the same ones, and longer with
# every try: what cannot be finished now is asked for ever more rarely.
_TAKE_DUE = f"""
WITH due AS (
    SELECT event.program, event.id
    FROM event
    WHERE due_time <= $4::timestamptz AND ($3::bigint IS NULL OR program = $3)
    ORDER BY due_time LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE event
    SET due_time = $1::timestamptz + least(
        interval '5 minutes', greatest(interval '5 seconds', $1::timestamptz - event.create_time)
    )
    FROM due
    WHERE event.program = due.program AND event.id = due.id
    RETURNING event.*
)
SELECT program.organization, program.id AS program_id,
    {", ".join(f"taken.{name.strip()}" for name in _COLUMNS.split(","))}
FROM taken JOIN program ON program.key = taken.program
ORDER BY taken.program, taken.number, taken.id
"""

_PAGE = f"""
SELECT {_COLUMNS} FROM event
WHERE program = $1 AND (number, id) < ($2, $3) {{filters}}
ORDER BY number DESC, id DESC
LIMIT $4
"""


async def find_events(
    connection: Connection, program: int, ids: Sequence[str]
) -> dict[str, LoggedEvent]:
    """Those of the events that are logged, by id."""
    rows = await connection.fetch(_FIND, program, ids)
    return {row["id"]: _event(row) for row in rows}


async def write_events(
    connection: Connection, program: int, events: Sequence[LoggedEvent], due_time: datetime
) -> set[str]:
    """Log events or write how they go on; answer the ids of those that were written.

    `attempt` is one more than that of the row that was read, 1 where there was none.
    """
    rows = await connection.fetch(
        _WRITE,
        program,
        [each.id for each in events],
        [each.number for each in events],
        [each.member for each in events],
        [each.type for each in events],
        [each.store for each in events],
        [each.state for each in events],
        [each.attempt for each in events],
        [each.digest for each in events],
        [each.content for each in events],
        [each.effective_time for each in events],
        [each.create_time for each in events],
        [each.actor for each in events],
        [each.ruleset for each in events],
        [each.trace for each in events],
        [each.visit_day for each in events],
        due_time,
        [each.post for each in events],
    )
    return {row["id"] for row in rows}


async def finish_events(
    connection: Connection, program: int, postings: Sequence[tuple[LoggedEvent, bytes]]
) -> None:
    """Record what the ledger answered to decided events."""
    await connection.execute(
        _FINISH,
        program,
        [event.id for event, _ in postings],
        [event.attempt for event, _ in postings],
        [posting for _, posting in postings],
    )


async def refuse_events(
    connection: Connection, program: int, refusals: Sequence[tuple[LoggedEvent, Refusal]]
) -> set[str]:
    """Record why events were refused; answer the ids of those that were not finished already."""
    rows = await connection.fetch(
        _REFUSE,
        program,
        [event.id for event, _ in refusals],
        [event.attempt for event, _ in refusals],
        [_refusal_text(refusal) for _, refusal in refusals],
    )
    return {row["id"] for row in rows}


async def take_due(
    connection: Connection,
    now: datetime,
    limit: int,
    *,
    due_by: datetime,
    program: int | None = None,
) -> list[Unfinished]:
    """Unfinished events, of one program or of all, in the order of logging; put off for others."""
    rows = await connection.fetch(_TAKE_DUE, now, limit, program, due_by)
    return [Unfinished(row["organization"], row["program_id"], _event(row)) for row in rows]


async def page_of_events(
    connection: Connection,
    program: int,
    member: str,
    event_type: str,
    before: tuple[int, str],
    limit: int,
) -> list[LoggedEvent]:
    """At most `limit` events before a place in the log, the latest first; empty names mean all."""
    # Only the filters that are asked for: a plan for "all or one" would read the log through.
    given = [(name, value) for name, value in (("member", member), ("type", event_type)) if value]
    filters = " ".join(f"AND {name} = ${place}" for place, (name, _) in enumerate(given, 5))
    values = [value for _, value in given]
    statement = _PAGE.format(filters=filters)
    rows = await connection.fetch(statement, program, *before, limit, *values)
    return [_event(row) for row in rows]


def trace_text(trace: Sequence[Step]) -> str:
    """A trace as it is stored."""
    return json.dumps(
        [
            (step.rule, step.applied, step.explanation, step.value, step.rate, step.points)
            for step in trace
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def trace_of(event: LoggedEvent) -> tuple[Step, ...]:
    """Every rule that was considered, in order."""
    return tuple(Step(*step) for step in json.loads(event.trace))


def refusal_of(event: LoggedEvent) -> Refusal | None:
    """Why the event was refused."""
    if event.refusal is None:
        return None
    stored = json.loads(event.refusal)
    return passed_on(stored["reason"], stored["message"], stored["metadata"])


def nobodys_refusal(text: str | None) -> str:
    """What is kept of a refusal once the member is gone, or (None) why an event is refused then."""
    reason = MemberNotFound.reason if text is None else str(json.loads(text)["reason"])
    return _refusal_text(passed_on(reason, "the member was erased", {}))


def _refusal_text(refusal: Refusal) -> str:
    stored = {
        "reason": refusal.reason,
        "message": refusal.message,
        "metadata": refusal.metadata,
    }
    # Postgres keeps no NUL in texts.
    return json.dumps(stored, ensure_ascii=False).replace("\\u0000", "")


def _event(row: asyncpg.Record) -> LoggedEvent:
    return LoggedEvent(
        row["id"],
        row["number"],
        row["member"],
        row["type"],
        row["store"],
        State(row["state"]),
        row["attempt"],
        row["digest"],
        row["content"],
        row["effective_time"],
        row["create_time"],
        row["actor"],
        row["ruleset"],
        row["trace"],
        row["visit_day"],
        row["post"],
        row["posting"],
        row["refusal"],
    )

"""Creating and changing programs: one row a program, one immutable snapshot a revision.

Every change locks the program's row first and takes its place in the stream of changes last.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ledger.domain.config import ProgramConfig
from services.ledger.store.config_json import Json, config_from_json, config_to_json
from services.ledger.store.programs import ProgramState, ProgramSummary
from services.ledger.store.tables import HEAD, PROGRAM, PROGRAM_CHANGE, PROGRAM_REVISION

_WAKE = text("""
INSERT INTO waking (program, after) VALUES (:program, -1)
ON CONFLICT (program) DO UPDATE SET after = -1
""")


@dataclass(frozen=True, slots=True)
class Creation:
    """What a program was created with, so that creating it again can be recognised."""

    display_name: str
    sandbox: bool
    start_time: datetime | None
    config: ProgramConfig


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes a configuration, when, and why."""

    actor: str
    reason: str
    record_time: datetime


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a program's configuration; its counters are left out."""

    revision: int
    author: Author
    config: ProgramConfig


async def insert_program(
    connection: AsyncConnection, program: ProgramState, creation: Creation, author: Author
) -> bool:
    """Create a program with its first revision; False where its id is taken."""
    row = {
        name: getattr(program, name)
        for name in PROGRAM.c.keys()  # noqa: SIM118 - no mapping.
    }
    statement = (
        insert_or(PROGRAM)
        .values(row)
        .on_conflict_do_nothing(index_elements=["organization", "id"])
        .returning(PROGRAM.c.key)
    )
    if (await connection.execute(statement)).one_or_none() is None:
        return False
    start = creation.start_time
    created = {
        "display_name": creation.display_name,
        "sandbox": creation.sandbox,
        "start_time": None if start is None else start.isoformat(),
    }
    snapshot = config_to_json(creation.config) | {"created": created}
    await _insert_revision(connection, program, author, snapshot)
    return True


async def wake(connection: AsyncConnection, program: int) -> None:
    """Have every account of a program looked at again: something may fall due earlier now."""
    await connection.execute(_WAKE, {"program": program})


async def find_creation(connection: AsyncConnection, key: int) -> Creation:
    """What the program was created with."""
    statement = select(PROGRAM_REVISION.c.config).where(
        PROGRAM_REVISION.c.program == key, PROGRAM_REVISION.c.revision == 1
    )
    snapshot: Json = (await connection.execute(statement)).scalar_one()
    created = snapshot["created"]
    start = created["start_time"]
    return Creation(
        display_name=created["display_name"],
        sandbox=created["sandbox"],
        start_time=None if start is None else datetime.fromisoformat(start),
        config=config_from_json(snapshot),
    )


async def find_program(
    connection: AsyncConnection, organization: str, program: str, *, lock: bool = False
) -> ProgramState | None:
    """The program as it is now. `lock` keeps others from changing it until commit."""
    return (await find_programs(connection, organization, [program], lock=lock)).get(program)


async def find_programs(
    connection: AsyncConnection, organization: str, programs: Collection[str], *, lock: bool = False
) -> dict[str, ProgramState]:
    """Those of the programs that there are, by id, as they are now.

    `lock` keeps others from changing them until commit; they are locked by key, so that two who
    lock several wait for each other and not both ways.
    """
    statement = (
        select(PROGRAM)
        .where(PROGRAM.c.organization == organization, PROGRAM.c.id.in_(programs))
        .order_by(PROGRAM.c.key)
    )
    if lock:
        # Not FOR UPDATE: rows that refer to a program may still be written.
        statement = statement.with_for_update(key_share=True)
    rows = (await connection.execute(statement)).mappings().all()
    found = {}
    for row in rows:
        # A statement of its own: joined to the lock it could be of an older revision than the row.
        config = await find_revision(connection, row["key"], row["revision"])
        assert config is not None
        found[row["id"]] = ProgramState(**_columns(row), config=config)
    return found


async def find_revision(
    connection: AsyncConnection, key: int, revision: int
) -> ProgramConfig | None:
    """The configuration of a program in a revision, if it has that one."""
    statement = select(PROGRAM_REVISION.c.config).where(
        PROGRAM_REVISION.c.program == key, PROGRAM_REVISION.c.revision == revision
    )
    snapshot: Json | None = (await connection.execute(statement)).scalar_one_or_none()
    return None if snapshot is None else config_from_json(snapshot)


async def list_revisions(
    connection: AsyncConnection, key: int, before: int, limit: int
) -> Sequence[Revision]:
    """At most `limit` revisions of a program with numbers less than `before`, newest first."""
    # A history is of settings; the counters are the large part of a configuration.
    config = PROGRAM_REVISION.c.config.op("-")("counters").label("config")
    columns = [PROGRAM_REVISION.c[name] for name in ("revision", "record_time", "actor", "reason")]
    statement = (
        select(*columns, config)
        .where(PROGRAM_REVISION.c.program == key, PROGRAM_REVISION.c.revision < before)
        .order_by(PROGRAM_REVISION.c.revision.desc())
        .limit(limit)
    )
    return [
        Revision(
            revision=row["revision"],
            author=Author(row["actor"], row["reason"], row["record_time"]),
            config=config_from_json(row["config"]),
        )
        for row in (await connection.execute(statement)).mappings()
    ]


async def list_programs(
    connection: AsyncConnection, organization: str, after: str, limit: int
) -> Sequence[tuple[ProgramSummary, str]]:
    """At most `limit` programs whose id is greater than `after`, by id, with default currencies."""
    currency = PROGRAM_REVISION.c.config["currencies"][0]["id"].astext.label("currency")
    statement = (
        select(PROGRAM, currency)
        .join(
            PROGRAM_REVISION,
            (PROGRAM_REVISION.c.program == PROGRAM.c.key)
            & (PROGRAM_REVISION.c.revision == PROGRAM.c.revision),
        )
        .where(PROGRAM.c.organization == organization, PROGRAM.c.id > after)
        .order_by(PROGRAM.c.id)
        .limit(limit)
    )
    rows = (await connection.execute(statement)).mappings()
    return [(ProgramSummary(**_columns(row)), row["currency"]) for row in rows]


async def count_programs(connection: AsyncConnection, organization: str) -> int:
    """How many programs of an organization are no sandboxes."""
    statement = select(func.count()).where(
        PROGRAM.c.organization == organization, PROGRAM.c.sandbox.is_(False)
    )
    return int((await connection.execute(statement)).scalar_one())


async def save_program(connection: AsyncConnection, program: ProgramState) -> None:
    """Write the display name, the revision and the version of a locked program."""
    await connection.execute(
        update(PROGRAM)
        .where(PROGRAM.c.key == program.key)
        .values(
            display_name=program.display_name,
            revision=program.revision,
            version=program.version,
        )
    )


async def insert_revision(
    connection: AsyncConnection, program: ProgramState, author: Author
) -> None:
    """Keep the program's configuration as the snapshot of its revision, for ever."""
    await _insert_revision(connection, program, author, config_to_json(program.config))


async def publish_change(
    connection: AsyncConnection, program: ProgramState, bucket: int, record_time: datetime
) -> None:
    """Append to the stream that the program changed. Last in its transaction.

    The head of the bucket stays locked until commit, so that sequences appear in commit order.
    """
    taken = await connection.execute(
        update(HEAD)
        .where(HEAD.c.bucket == bucket)
        .values(sequence=HEAD.c.sequence + 1)
        .returning(HEAD.c.sequence)
    )
    await connection.execute(
        insert(PROGRAM_CHANGE).values(
            bucket=bucket,
            sequence=taken.scalar_one(),
            program=program.key,
            revision=program.revision,
            record_time=record_time,
        )
    )


async def advance_clock(connection: AsyncConnection, key: int, time: datetime) -> datetime | None:
    """Move a sandbox's clock forward; None where it is later already."""
    statement = (
        update(PROGRAM)
        .where(PROGRAM.c.key == key, PROGRAM.c.sandbox, PROGRAM.c.clock <= time)
        .values(clock=time)
        .returning(PROGRAM.c.clock)
    )
    clock: datetime | None = (await connection.execute(statement)).scalar_one_or_none()
    return clock


def _columns(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in PROGRAM.c.keys()}  # noqa: SIM118 - no mapping.


async def _insert_revision(
    connection: AsyncConnection, program: ProgramState, author: Author, snapshot: Json
) -> None:
    await connection.execute(
        insert(PROGRAM_REVISION).values(
            program=program.key,
            revision=program.revision,
            record_time=author.record_time,
            actor=author.actor,
            reason=author.reason,
            config=snapshot,
        )
    )

"""Programs as postings and reads need them: who they are, and their configuration by revision.

These statements are on every request's path, so they go straight to asyncpg. Changing a program is
in `store/program_writes.py`.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import asyncpg

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import ProgramNotFound
from services.ledger.domain.config import ProgramConfig
from services.ledger.store.config_json import config_from_json

# Quoted: asyncpg's classes are generic in its stubs only.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Source: TypeAlias = "Connection | Pool"


@dataclass(frozen=True, slots=True)
class ProgramIdentity:
    """What never changes of a program. `key` is what other rows name it by."""

    key: int
    organization: str
    id: str
    sandbox: bool


@dataclass(frozen=True, slots=True)
class ProgramState:
    """A program as it is now. `clock` is a sandbox's now and unset otherwise."""

    key: int
    organization: str
    id: str
    sandbox: bool
    clock: datetime | None
    revision: int
    config: ProgramConfig
    posted: bool
    display_name: str
    version: int
    create_time: datetime

    def now(self, server_time: datetime) -> datetime:
        """The program's now: the sandbox's clock, else the server's time."""
        return server_time if self.clock is None else self.clock


_PROGRAM_BY_ID = """
SELECT p.key, p.organization, p.id, p.sandbox, p.clock, p.revision, p.posted, p.display_name,
       p.version, p.create_time, r.config
FROM program p JOIN program_revision r ON r.program = p.key AND r.revision = p.revision
WHERE p.organization = $1 AND p.id = $2
"""

_IDENTITY_BY_ID = """
SELECT key, sandbox FROM program WHERE organization = $1 AND id = $2
"""

_SNAPSHOT = """
SELECT config FROM program_revision WHERE program = $1 AND revision = $2
"""


async def program_of(connection: Source, organization: str, program: str) -> ProgramState:
    """The program as it is now, or ProgramNotFound. One statement."""
    row = await _fetch_row(connection, _PROGRAM_BY_ID, organization, program)
    if row is None:
        raise ProgramNotFound(program)
    return ProgramState(
        key=row["key"],
        organization=row["organization"],
        id=row["id"],
        sandbox=row["sandbox"],
        clock=row["clock"],
        revision=row["revision"],
        config=config_from_json(json.loads(row["config"])),
        posted=row["posted"],
        display_name=row["display_name"],
        version=row["version"],
        create_time=row["create_time"],
    )


class ProgramCache:
    """What a process remembers of programs: only what can never change.

    A program's identity is fixed, and a revision's configuration is immutable; which revision is in
    force is not remembered, so nothing here is ever stale. The callers read the revision with the
    rows that they read anyway and ask for its configuration.
    """

    def __init__(
        self, pool: Pool, *, programs_max: int = 10_000, snapshots_max: int = 2_000
    ) -> None:
        self._pool = pool
        self._programs_max = programs_max
        self._snapshots_max = snapshots_max
        self._identities: OrderedDict[tuple[str, str], ProgramIdentity] = OrderedDict()
        self._snapshots: OrderedDict[tuple[int, int], ProgramConfig] = OrderedDict()

    async def identity(self, organization: str, program: str) -> ProgramIdentity:
        """Who a program is, or ProgramNotFound. No statement once it is known."""
        name = (organization, program)
        known = self._identities.get(name)
        if known is not None:
            self._identities.move_to_end(name)
            return known
        row = await _fetch_row(self._pool, _IDENTITY_BY_ID, organization, program)
        if row is None:
            raise ProgramNotFound(program)
        known = ProgramIdentity(row["key"], organization, program, row["sandbox"])
        self._identities[name] = known
        if len(self._identities) > self._programs_max:
            self._identities.popitem(last=False)
        return known

    def cached(self, key: int, revision: int) -> ProgramConfig | None:
        """The configuration of a revision if it is known here; never waits."""
        config = self._snapshots.get((key, revision))
        if config is not None:
            self._snapshots.move_to_end((key, revision))
        return config

    async def config(self, key: int, revision: int) -> ProgramConfig:
        """The configuration of a revision, loaded once. LookupError where there is none."""
        config = self.cached(key, revision)
        if config is not None:
            return config
        row = await _fetch_row(self._pool, _SNAPSHOT, key, revision)
        if row is None:
            raise LookupError(f"program {key} has no revision {revision}")
        return self._remember(key, revision, config_from_json(json.loads(row["config"])))

    async def get(self, organization: str, program: str) -> ProgramState:
        """The program as it is now, read freshly, or ProgramNotFound."""
        state = await program_of(self._pool, organization, program)
        self._remember(state.key, state.revision, state.config)
        return state

    def _remember(self, key: int, revision: int, config: ProgramConfig) -> ProgramConfig:
        self._snapshots[key, revision] = config
        if len(self._snapshots) > self._snapshots_max:
            self._snapshots.popitem(last=False)
        return config


async def _fetch_row(
    connection: Source, statement: str, *arguments: object
) -> asyncpg.Record | None:
    if isinstance(connection, asyncpg.Pool):
        async with connection.acquire(timeout=ACQUIRE_TIMEOUT_S) as borrowed:
            return await borrowed.fetchrow(statement, *arguments)
    return await connection.fetchrow(statement, *arguments)

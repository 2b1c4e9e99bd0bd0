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

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool
from kernel.refusals import ProgramNotFound
from services.ledger.domain.config import ProgramConfig
from services.ledger.store.config_json import config_from_json

Source: TypeAlias = "Connection | Pool"


@dataclass(frozen=True, slots=True)
class ProgramIdentity:
    """What never changes of a program. `key` is what other rows name it by."""

    key: int
    organization: str
    id: str
    sandbox: bool


@dataclass(frozen=True, slots=True)
class ProgramSummary:
    """A program as it is now, but for its configuration. `clock` is a sandbox's now, else unset."""

    key: int
    organization: str
    id: str
    sandbox: bool
    clock: datetime | None
    revision: int
    posted: bool
    display_name: str
    version: int
    create_time: datetime

    def now(self, server_time: datetime) -> datetime:
        """The program's now: the sandbox's clock, else the server's time."""
        return server_time if self.clock is None else self.clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramState(ProgramSummary):
    """A program as it is now, with the configuration in force."""

    config: ProgramConfig


_PROGRAM_BY_ID = """
SELECT key, organization, id, sandbox, clock, revision, posted, display_name, version, create_time
FROM program
WHERE organization = $1 AND id = $2
"""

_IDENTITY_BY_ID = """
SELECT key, sandbox FROM program WHERE organization = $1 AND id = $2
"""

_SNAPSHOT = """
SELECT config FROM program_revision WHERE program = $1 AND revision = $2
"""


async def program_of(source: Source, organization: str, program: str) -> ProgramState:
    """The program as it is now, or ProgramNotFound."""
    row = await _program_row(source, organization, program)
    config = await _snapshot(source, row["key"], row["revision"])
    return ProgramState(**dict(row), config=config)


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
        config = await _snapshot(self._pool, key, revision)
        self._snapshots[key, revision] = config
        if len(self._snapshots) > self._snapshots_max:
            self._snapshots.popitem(last=False)
        return config

    async def get(self, organization: str, program: str) -> ProgramState:
        """The program as it is now, read freshly, or ProgramNotFound."""
        row = await _program_row(self._pool, organization, program)
        config = await self.config(row["key"], row["revision"])
        return ProgramState(**dict(row), config=config)


async def _program_row(source: Source, organization: str, program: str) -> asyncpg.Record:
    row = await _fetch_row(source, _PROGRAM_BY_ID, organization, program)
    if row is None:
        raise ProgramNotFound(program)
    return row


async def _snapshot(source: Source, key: int, revision: int) -> ProgramConfig:
    row = await _fetch_row(source, _SNAPSHOT, key, revision)
    if row is None:
        raise LookupError(f"program {key} has no revision {revision}")
    return config_from_json(json.loads(row["config"]))


async def _fetch_row(source: Source, statement: str, *arguments: object) -> asyncpg.Record | None:
    if isinstance(source, asyncpg.Pool):
        async with source.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await connection.fetchrow(statement, *arguments)
    return await source.fetchrow(statement, *arguments)

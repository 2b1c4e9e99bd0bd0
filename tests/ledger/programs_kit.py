"""A real ledger server over a fresh database, and short ways to call it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.refusals import error_info, status_of_error, violations_of
from loyalty.common.v1.clock_pb2_grpc import ClockServiceStub
from loyalty.ledger.v1 import program_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceStub
from loyalty.ledger.v1.report_pb2_grpc import ReportServiceStub
from services.ledger.__main__ import build
from services.ledger.__main__ import running as ledger_process
from services.ledger.settings import LedgerSettings
from services.ledger.store.programs import ProgramCache
from testkit import keys
from testkit.postgres import TestDatabase
from testkit.servers import authorized_channel, running


class RecordingSettler:
    """Does what settling does to the index of due accounts, and remembers whom it met."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self.calls: list[list[tuple[int, int]]] = []
        self.fails_after: int | None = None

    async def settle(self, accounts: Sequence[tuple[int, int]], /, *, again: bool = False) -> None:
        """Move the due times of the accounts out of the way."""
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise RuntimeError("the process dies here")
        self.calls.append(list(accounts))
        await self._pool.executemany(
            "UPDATE account SET next_due_time = NULL WHERE bucket = $1 AND id = $2", accounts
        )


@dataclass
class LedgerUnderTest:
    """A server, its database, and stubs with a credential of the organization `acme`."""

    port: int
    settler: RecordingSettler
    cache: ProgramCache
    rows: "asyncpg.Pool[asyncpg.Record]"
    channel: grpc.aio.Channel

    @property
    def points(self) -> Any:
        """Accounts and their points."""
        return LedgerServiceStub(self.channel)

    @property
    def programs(self) -> Any:
        """Organizations and programs."""
        return ProgramServiceStub(self.channel)

    @property
    def members(self) -> Any:
        """Members."""
        return AccountServiceStub(self.channel)

    @property
    def reports(self) -> Any:
        """What finance asks of a program."""
        return ReportServiceStub(self.channel)

    @property
    def proof(self) -> Any:
        """Verifying programs, and checkpoints."""
        return ProofServiceStub(self.channel)

    @property
    def clock(self) -> Any:
        """The clock of sandboxes."""
        return ClockServiceStub(self.channel)

    async def create_organization(self, organization: str = "acme", *, many: bool = True) -> None:
        """Register an organization."""
        await self.programs.CreateOrganization(
            program_pb2.CreateOrganizationRequest(
                organization=organization,
                settings=program_pb2.OrganizationSettings(multiple_programs=many),
            )
        )

    async def create_program(self, program: str = "p1", **fields: Any) -> program_pb2.Program:
        """Create a program in `acme`."""
        created: program_pb2.Program = await self.programs.CreateProgram(
            program_pb2.CreateProgramRequest(program=program, **fields)
        )
        return created


@asynccontextmanager
async def ledger_under_test(
    database: TestDatabase, *, buckets: int = 8, recording: bool = False, **changes: Any
) -> AsyncIterator[LedgerUnderTest]:
    """Serve a ledger over a database; every call carries a token that may do everything.

    With `recording` the clock's due accounts go to a settler that remembers instead of the lanes.
    `changes` are further settings.
    """
    settings = LedgerSettings(
        ledger_dsn=database.dsn,
        ledger_migration_dsn=database.owner_dsn,
        ledger_buckets=buckets,
        ledger_port=0,
        ledger_lanes=2,
        ledger_reads=4,
        drain_seconds=2.0,
        **{"access_log_sample": 0.0, **changes},
    )
    async with (
        ledger_process(settings) as (programs, ledger),
        asyncpg.create_pool(database.dsn, min_size=1, max_size=4) as rows,
    ):
        settler = RecordingSettler(rows)
        chosen = replace(programs, settler=settler) if recording else programs
        server = build(settings, chosen, ledger, keys.verifier())
        async with running(server) as port, authorized_channel(port) as channel:
            yield LedgerUnderTest(port, settler, programs.cache, rows, channel)


@dataclass(frozen=True)
class Refused:
    """A refusal as a caller sees it."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    fields: tuple[str, ...]
    message: str


async def refusal(call: Any) -> Refused:
    """The refusal that a call ends with; fails where it does not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        status = status_of_error(error, "ledger")
        info = error_info(status)
        if info is None:
            raise
        fields = tuple(violation.field for violation in violations_of(status))
        return Refused(error.code(), info.reason, dict(info.metadata), fields, status.message)
    raise AssertionError(f"not refused: {answer}")


def at(year: int, month: int = 1, day: int = 1, hour: int = 0) -> Timestamp:
    """An instant in UTC."""
    timestamp = Timestamp()
    timestamp.FromDatetime(datetime(year, month, day, hour, tzinfo=UTC))
    return timestamp

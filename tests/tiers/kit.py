"""Real servers of ledger and tiers over fresh databases, and short ways to call them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.refusals import error_info, status_of_error, violations_of
from loyalty.common.v1.clock_pb2_grpc import ClockServiceStub
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.ledger.v1.resources_pb2 import CounterWindow
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from services.ledger.__main__ import build as build_ledger
from services.ledger.__main__ import running as ledger_running
from services.ledger.settings import LedgerSettings
from services.tiers.__main__ import build, running
from services.tiers.operations.context import TiersContext
from services.tiers.settings import TiersSettings
from testkit import keys, servers
from testkit.postgres import TestDatabase
from testkit.servers import authorized_channel

LIFETIME = CounterWindow.LIFETIME
BUCKETS = 8


class LedgerServer:
    """A real ledger that can be stopped and started again on the same port."""

    def __init__(self, database: TestDatabase) -> None:
        self._database = database
        self._stack = AsyncExitStack()
        self.port = 0
        self._numbers = iter(range(10**9))

    async def start(self) -> None:
        """Serve, on the port of before where there was one."""
        settings = LedgerSettings(
            ledger_dsn=self._database.dsn,
            ledger_migration_dsn=self._database.owner_dsn,
            ledger_buckets=BUCKETS,
            ledger_port=self.port,
            ledger_lanes=2,
            ledger_reads=4,
            drain_seconds=2.0,
            access_log_sample=0.0,
        )
        programs, points = await self._stack.enter_async_context(ledger_running(settings))
        server = build_ledger(settings, programs, points, keys.verifier())
        self.port = await self._stack.enter_async_context(servers.running(server))
        channel = authorized_channel(self.port)
        await self._stack.enter_async_context(channel)
        self.points: Any = LedgerServiceStub(channel)
        self.programs: Any = ProgramServiceStub(channel)
        self.members: Any = AccountServiceStub(channel)

    async def stop(self) -> None:
        """Stop serving."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def create_organization(self, organization: str = "acme") -> None:
        """Register an organization of many programs."""
        await self.programs.CreateOrganization(
            program_pb2.CreateOrganizationRequest(
                organization=organization,
                settings=program_pb2.OrganizationSettings(multiple_programs=True),
            )
        )

    async def create_program(
        self, program: str = "p1", *, counters: Sequence[str] = ("spend", "visits"), **fields: Any
    ) -> None:
        """Create a program of `acme` with counters, whose members are enrolled by counting."""
        settings = program_pb2.ProgramSettings(program=program_pb2.GeneralSettings(auto_enrol=True))
        await self.programs.CreateProgram(
            program_pb2.CreateProgramRequest(program=program, settings=settings, **fields)
        )
        for counter in counters:
            await self.programs.CreateCounter(
                program_pb2.CreateCounterRequest(program=program, counter_id=counter)
            )

    async def count(
        self, member: str, value: int, *, counter: str = "spend", program: str = "p1", **fields: Any
    ) -> None:
        """Count for a member, who is enrolled by it."""
        await self.points.Count(
            ledger_pb2.CountRequest(
                program=program,
                member=member,
                request_id=f"count-{next(self._numbers)}",
                counter=counter,
                value=value,
                **fields,
            )
        )

    async def earn(self, member: str, points: int, *, program: str = "p1", **fields: Any) -> None:
        """Give a member points."""
        await self.points.Earn(
            ledger_pb2.EarnRequest(
                program=program,
                member=member,
                request_id=f"earn-{next(self._numbers)}",
                points=points,
                **fields,
            )
        )

    async def enrol(self, member: str, *, program: str = "p1", **fields: Any) -> None:
        """Enrol a member."""
        await self.members.EnrolMember(
            account_pb2.EnrolMemberRequest(
                program=program, member=member, request_id=f"enrol-{member}", **fields
            )
        )


@dataclass
class Tiers:
    """A server of the tiers, its database, and stubs with a credential of `acme`."""

    port: int
    context: TiersContext
    rows: "asyncpg.Pool[asyncpg.Record]"
    channel: grpc.aio.Channel

    @property
    def stub(self) -> Any:
        """Ladders and memberships."""
        return TierServiceStub(self.channel)

    @property
    def clock(self) -> Any:
        """The clock of sandboxes."""
        return ClockServiceStub(self.channel)

    async def create_ladder(
        self, ladder: tiers_pb2.Ladder, *, program: str = "p1", ladder_id: str = "status"
    ) -> tiers_pb2.Ladder:
        """Give a program a ladder."""
        created: tiers_pb2.Ladder = await self.stub.CreateLadder(
            tiers_pb2.CreateLadderRequest(program=program, ladder_id=ladder_id, ladder=ladder)
        )
        return created

    async def evaluate(self, member: str, *, program: str = "p1") -> tiers_pb2.Membership:
        """Evaluate a member."""
        evaluated: tiers_pb2.Membership = await self.stub.EvaluateMember(
            tiers_pb2.EvaluateMemberRequest(program=program, member=member)
        )
        return evaluated

    async def membership(self, member: str, *, program: str = "p1") -> tiers_pb2.Membership:
        """Where a member stands."""
        found: tiers_pb2.Membership = await self.stub.GetMembership(
            tiers_pb2.GetMembershipRequest(program=program, member=member)
        )
        return found

    async def history(
        self, member: str, *, program: str = "p1"
    ) -> list[tiers_pb2.MembershipChange]:
        """Where a member stood, the latest first."""
        answer = await self.stub.ListMembershipHistory(
            tiers_pb2.ListMembershipHistoryRequest(program=program, member=member)
        )
        return list(answer.changes)

    async def stored_tier(self, member: str, *, program: str = "p1") -> str | None:
        """The stored tier of a member of `acme`, past all services."""
        tier: str | None = await self.rows.fetchval(
            "SELECT tier FROM membership WHERE organization = 'acme' AND program = $1"
            " AND member = $2",
            program,
            member,
        )
        return tier


def tiers_settings(database: TestDatabase, ledger_port: int, **changes: Any) -> TiersSettings:
    """Settings of a server of the tiers for tests."""
    return TiersSettings(
        **{
            "tiers_dsn": database.dsn,
            "tiers_migration_dsn": database.owner_dsn,
            "tiers_buckets": BUCKETS,
            "tiers_port": 0,
            "tiers_writes": 4,
            "tiers_reads": 4,
            "ledger_address": f"127.0.0.1:{ledger_port}",
            "drain_seconds": 2.0,
            "access_log_sample": 0.0,
            **changes,
        }
    )


@asynccontextmanager
async def tiers_server(
    database: TestDatabase, ledger_port: int, *, following: bool = True
) -> AsyncIterator[Tiers]:
    """Serve the tiers over a database; every call carries a token that may do everything."""
    settings = tiers_settings(database, ledger_port)
    async with (
        running(settings, keys.issuer(), following=following) as context,
        asyncpg.create_pool(database.owner_dsn, min_size=1, max_size=2) as rows,
        servers.running(build(settings, context, keys.verifier())) as port,
        authorized_channel(port) as channel,
    ):
        yield Tiers(port, context, rows, channel)


def criterion(
    threshold: int, counter: str = "spend", period: Any = LIFETIME, length: int = 0
) -> tiers_pb2.Criterion:
    """A criterion of a tier."""
    window = CounterWindow(counter=counter, period=period, length=length)
    return tiers_pb2.Criterion(window=window, threshold=threshold)


def tier(name: str, *criteria: tiers_pb2.Criterion, **fields: Any) -> tiers_pb2.Tier:
    """A tier of a ladder."""
    return tiers_pb2.Tier(tier=name, criteria=criteria, **fields)


def metals(**fields: Any) -> tiers_pb2.Ladder:
    """Bronze, silver from 25,000 and gold from 100,000 of lifetime spend."""
    return tiers_pb2.Ladder(
        tiers=[
            tier("bronze"),
            tier("silver", criterion(25_000), earning_rate="1.5", benefits=["A lounge"]),
            tier("gold", criterion(100_000), earning_rate="2"),
        ],
        **fields,
    )


@dataclass(frozen=True)
class Refused:
    """A refusal as a caller sees it."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    fields: tuple[str, ...]


async def refusal(call: Any) -> Refused:
    """The refusal that a call ends with; fails where it does not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        status = status_of_error(error, "tiers")
        info = error_info(status)
        if info is None:
            raise
        fields = tuple(violation.field for violation in violations_of(status))
        return Refused(error.code(), info.reason, dict(info.metadata), fields)
    raise AssertionError(f"not refused: {answer}")


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until a check holds; fails where it does not within the time."""
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, "did not come to hold"
        await asyncio.sleep(0.02)


def at(year: int, month: int = 1, day: int = 1, hour: int = 0) -> Timestamp:
    """An instant in UTC."""
    timestamp = Timestamp()
    timestamp.FromDatetime(datetime(year, month, day, hour, tzinfo=UTC))
    return timestamp

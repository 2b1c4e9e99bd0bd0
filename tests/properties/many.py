"""Many callers at once of several processes of one ledger, over asynchronous stubs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc

from chassis.refusals import error_info, status_of_error
from loyalty.ledger.v1 import ledger_pb2, program_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from tests.properties.ledger_process import Cluster

SECONDS = 30
PROCESSES = 3


@dataclass
class Caller:
    """Stubs of one process."""

    channel: grpc.aio.Channel
    metadata: Sequence[tuple[str, str]]

    async def points(self, method: str, request: Any) -> Any:
        """A call of `LedgerService`."""
        return await self._call(LedgerServiceStub(self.channel), method, request)

    async def accounts(self, method: str, request: Any) -> Any:
        """A call of `AccountService`."""
        return await self._call(AccountServiceStub(self.channel), method, request)

    async def programs(self, method: str, request: Any) -> Any:
        """A call of `ProgramService`."""
        return await self._call(ProgramServiceStub(self.channel), method, request)

    async def _call(self, stub: Any, method: str, request: Any) -> Any:
        call = getattr(stub, method)
        return await call(request, metadata=self.metadata, timeout=SECONDS)


@dataclass
class Many:
    """Callers of each process, and the database itself."""

    organization: str
    callers: list[Caller]
    rows: "asyncpg.Pool[asyncpg.Record]"

    async def furnish(self, **settings: Any) -> None:
        """The organization and its program `p`."""
        await self.callers[0].programs(
            "CreateOrganization",
            program_pb2.CreateOrganizationRequest(organization=self.organization),
        )
        given = program_pb2.ProgramSettings(
            **{"program": program_pb2.GeneralSettings(auto_enrol=True), **settings}
        )
        await self.callers[0].programs(
            "CreateProgram", program_pb2.CreateProgramRequest(program="p", settings=given)
        )

    async def earn(self, number: int, member: str, points: int, request_id: str) -> Any:
        """Give points, asking one process or another."""
        request = ledger_pb2.EarnRequest(
            program="p", member=member, points=points, request_id=request_id
        )
        return await self.callers[number % len(self.callers)].points("Earn", request)

    async def account(self, member: str, **more: Any) -> Any:
        """What a member has."""
        request = ledger_pb2.GetAccountRequest(program="p", member=member, **more)
        return await self.callers[0].points("GetAccount", request)

    async def available(self, member: str, **more: Any) -> int:
        """A member's available points."""
        return int((await self.account(member, **more)).balances[0].available)

    async def verify(self, *members: str) -> None:
        """Assert that the own books of members balance."""
        for member in members:
            request = ledger_pb2.VerifyAccountRequest(program="p", member=member)
            answer = await self.callers[0].points("VerifyAccount", request)
            assert answer.ok, (member, list(answer.findings))


@asynccontextmanager
async def many(cluster: Cluster, organization: str) -> AsyncIterator[Many]:
    """Several processes of the cluster, started where they do not run yet."""
    while len(cluster.processes) < PROCESSES:
        await asyncio.to_thread(cluster.start)
    metadata = (("authorization", f"Bearer {cluster.token(organization)}"),)
    async with AsyncExitStack() as stack:
        callers = [
            Caller(await stack.enter_async_context(channel), metadata)
            for channel in (
                grpc.aio.insecure_channel(each.address) for each in cluster.processes[:PROCESSES]
            )
        ]
        pool = asyncpg.create_pool(cluster.database.dsn, min_size=1, max_size=2)
        yield Many(organization, callers, await stack.enter_async_context(pool))


async def reason_of(call: Awaitable[Any]) -> str:
    """`OK`, or the reason of the refusal."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        info = error_info(status_of_error(error, "ledger"))
        assert info is not None
        return str(info.reason)
    return "OK"

"""A ledger whose methods do what a test says, behind the real chain."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
from google.rpc import status_pb2

from chassis.identity import Scope
from chassis.refusals import STATUS_KEY, error_info, violations_of
from chassis.server import Server
from loyalty.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from testkit.servers import serving

SERVICE = "loyalty.ledger.v1.LedgerService"
SCOPES: dict[str, Scope | str] = {
    f"/{SERVICE}/Earn": "ledger:write",
    f"/{SERVICE}/GetAccount": Scope("ledger:read", member=True),
    f"/{SERVICE}/BatchPost": "ledger:write",
    f"/{SERVICE}/WatchChanges": "changes:read",
}

Earn = Callable[[ledger_pb2.EarnRequest, Any], Awaitable[ledger_pb2.EarnResponse]]
Watch = Callable[[ledger_pb2.WatchChangesRequest, Any], AsyncIterator[Any]]


async def answer(_request: Any, _context: Any) -> ledger_pb2.EarnResponse:
    return ledger_pb2.EarnResponse(replayed=True)


async def three(_request: Any, _context: Any) -> AsyncIterator[ledger_pb2.WatchChangesResponse]:
    for sequence in (1, 2, 3):
        yield ledger_pb2.WatchChangesResponse(cursors={0: sequence})


class Scripted(ledger_pb2_grpc.LedgerServiceServicer):
    def __init__(self, earn: Earn = answer, watch: Watch = three) -> None:
        self._earn = earn
        self._watch = watch

    async def Earn(self, request: Any, context: Any) -> Any:
        return await self._earn(request, context)

    async def GetAccount(self, request: Any, context: Any) -> Any:
        return ledger_pb2.GetAccountRequest()

    async def Count(self, request: Any, context: Any) -> Any:
        return ledger_pb2.CountResponse()

    async def WatchChanges(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in self._watch(request, context):
            yield response


def servicer(earn: Earn = answer, watch: Watch = three) -> Scripted:
    # The methods that are not scripted are those of the generated base, which serve nothing.
    return Scripted(earn, watch)  # type: ignore[abstract]


def scripted(
    earn: Earn = answer, watch: Watch = three, **settings: Any
) -> AbstractAsyncContextManager[tuple[Server, grpc.aio.Channel]]:
    served = (
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server,
        servicer(earn, watch),
        SERVICE,
    )
    return serving(served, scopes=SCOPES, **settings)


def stub(channel: grpc.aio.Channel) -> "ledger_pb2_grpc.LedgerServiceAsyncStub":
    return ledger_pb2_grpc.LedgerServiceStub(channel)


async def drained(call: Any) -> list[Any]:
    """Every response of a stream."""
    return [response async for response in call]


def an_earn(**changes: Any) -> ledger_pb2.EarnRequest:
    fields = {"program": "acme", "member": "m-1", "request_id": "r-1", "points": 5, **changes}
    return ledger_pb2.EarnRequest(**fields)


def status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    details = dict(error.trailing_metadata() or ())
    found = status_pb2.Status.FromString(details[STATUS_KEY])
    assert found.code == error.code().value[0]
    assert found.message == error.details()
    return found


def refused(error: grpc.aio.AioRpcError) -> tuple[str, str, dict[str, str], list[str]]:
    """Code, reason, metadata, and the fields of violations."""
    found = status(error)
    info = error_info(found)
    assert info is not None
    fields = [each.field for each in violations_of(found)]
    return error.code().name, info.reason, dict(info.metadata), fields


async def unreached(_request: Any, _context: Any) -> Any:
    raise AssertionError("the handler was reached")


async def ended(call: Any) -> str:
    """The reason with which a unary call was refused, or OK."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refused(error)[1]
    return "OK"

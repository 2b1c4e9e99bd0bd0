"""Both clients against a real server that fails as it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from loyalty.client import ApiKey, AsyncClient, Client, LoyaltyRefusal, Options, RetryPolicy, Token
from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc
from loyalty.ledger.v1 import ledger_pb2, ledger_pb2_grpc

QUICK = RetryPolicy(initial_backoff_seconds=0.01, maximum_backoff_seconds=0.05)
NOW = 1_700_000_000
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION

Earn = Callable[[ledger_pb2.EarnRequest], Awaitable[ledger_pb2.EarnResponse]]


@dataclass
class Fake(
    ledger_pb2_grpc.LedgerServiceServicer,
    credential_pb2_grpc.CredentialServiceServicer,
):
    """Answers with the codes of a script, then with success; writes down what it saw."""

    script: list[grpc.StatusCode] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    authorization: list[str] = field(default_factory=list)
    issued: int = 0
    target: str = ""

    async def Earn(self, request: ledger_pb2.EarnRequest, context: Any) -> Any:
        self.seen.append(request.request_id)
        self.authorization.append(dict(context.invocation_metadata())["authorization"])
        if self.script:
            await refuse(context, self.script.pop(0))
        return ledger_pb2.EarnResponse()

    async def WatchChanges(
        self, request: ledger_pb2.WatchChangesRequest, context: Any
    ) -> AsyncIterator[ledger_pb2.WatchChangesResponse]:
        assert context.time_remaining() is None or context.time_remaining() > 10**6
        yield ledger_pb2.WatchChangesResponse(cursors={1: 7})
        await refuse(context, EXHAUSTED)

    async def IssueToken(self, request: credential_pb2.IssueTokenRequest, context: Any) -> Any:
        self.issued += 1
        self.authorization.append(dict(context.invocation_metadata())["authorization"])
        expire = Timestamp(seconds=NOW + 100)
        return credential_pb2.IssueTokenResponse(token=f"jwt-{self.issued}", expire_time=expire)


async def refuse(context: Any, code: grpc.StatusCode) -> None:
    packed = Packed()
    packed.Pack(error_details_pb2.ErrorInfo(reason="NO", domain="loyalty"))
    status = status_pb2.Status(code=code.value[0], message="no", details=[packed])
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, "no", trailing)


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    # What a script does not need answers UNIMPLEMENTED.
    servicer = Fake()  # type: ignore[abstract]
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(servicer, server)
    credential_pb2_grpc.add_CredentialServiceServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield servicer
    await server.stop(None)


def options(fake: Fake) -> Options:
    return Options({"ledger": fake.target, "gateway": fake.target}, retry=QUICK)


@pytest.fixture(params=["asynchronous", "synchronous"])
async def earn(request: pytest.FixtureRequest, fake: Fake) -> AsyncIterator[Earn]:
    """`Earn` of one client or the other, awaited alike."""
    if request.param == "asynchronous":
        async with AsyncClient(options(fake), Token("jwt")) as client:
            stub = client.stub(ledger_pb2_grpc.LedgerServiceStub)

            async def call(message: ledger_pb2.EarnRequest) -> ledger_pb2.EarnResponse:
                return await stub.Earn(message)

            yield call
        return
    with Client(options(fake), Token("jwt")) as other, ThreadPoolExecutor(1) as pool:
        blocking = other.stub(ledger_pb2_grpc.LedgerServiceStub)
        loop = asyncio.get_running_loop()
        yield lambda message: loop.run_in_executor(pool, lambda: blocking.Earn(message))


@pytest.mark.parametrize(
    "script,sent",
    [
        pytest.param([], 1, id="success is sent once"),
        pytest.param([UNAVAILABLE, UNAVAILABLE], 3, id="a server that is away is called again"),
        pytest.param([EXHAUSTED], 2, id="a server that has too much to do is called again"),
    ],
)
async def test_what_may_succeed_later_is_sent_again_with_the_same_request_id(
    fake: Fake, earn: Earn, script: list[grpc.StatusCode], sent: int
) -> None:
    fake.script = list(script)
    await earn(ledger_pb2.EarnRequest(program="p", member="m", points=1))

    assert len(fake.seen) == sent
    assert len(set(fake.seen)) == 1
    assert len(fake.seen[0]) == 36
    assert set(fake.authorization) == {"Bearer jwt"}


@pytest.mark.parametrize(
    "script,code,sent",
    [
        pytest.param([PRECONDITION], PRECONDITION, 1, id="a rule that said no is final"),
        pytest.param([UNAVAILABLE] * 9, UNAVAILABLE, 5, id="five attempts are enough"),
    ],
)
async def test_what_stays_refused_is_raised(
    fake: Fake, earn: Earn, script: list[grpc.StatusCode], code: grpc.StatusCode, sent: int
) -> None:
    fake.script = list(script)

    with pytest.raises(LoyaltyRefusal) as refusal:
        await earn(ledger_pb2.EarnRequest(program="p", member="m", points=1))
    assert (refusal.value.reason, refusal.value.code) == ("NO", code)
    assert len(fake.seen) == sent


async def test_concurrent_calls_share_one_token_and_renew_it_before_it_expires(fake: Fake) -> None:
    now = [float(NOW)]
    async with AsyncClient(options(fake), ApiKey("key"), clock=lambda: now[0]) as client:
        ledger = client.stub(ledger_pb2_grpc.LedgerServiceStub)
        request = ledger_pb2.EarnRequest(program="p", member="m", points=1)
        await asyncio.gather(*(ledger.Earn(request) for _ in range(5)))
        now[0] += 81
        await ledger.Earn(request)

    assert fake.issued == 2
    assert sorted(set(fake.authorization)) == ["Bearer jwt-1", "Bearer jwt-2", "Bearer key"]


async def test_a_stream_is_read_until_its_refusal(fake: Fake) -> None:
    async with AsyncClient(options(fake), Token("jwt")) as client:
        stream = client.stub(ledger_pb2_grpc.LedgerServiceStub).WatchChanges(
            ledger_pb2.WatchChangesRequest()
        )
        first = await anext(aiter(stream))
        with pytest.raises(LoyaltyRefusal, match="NO"):
            await anext(aiter(stream))

    assert dict(first.cursors) == {1: 7}


async def test_a_call_waits_for_a_server_that_is_not_there_yet(fake: Fake) -> None:
    late = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(fake, late)
    port = late.add_insecure_port("127.0.0.1:0")
    addresses = {"ledger": f"127.0.0.1:{port}"}
    async with AsyncClient(Options(addresses, retry=QUICK), Token("jwt")) as client:
        ledger = client.stub(ledger_pb2_grpc.LedgerServiceStub)
        call = asyncio.ensure_future(
            ledger.Earn(ledger_pb2.EarnRequest(program="p", member="m", points=1))
        )
        await asyncio.sleep(0.2)
        waiting = not call.done()
        await late.start()
        await call
    await late.stop(None)

    assert waiting
    assert len(fake.seen) == 1

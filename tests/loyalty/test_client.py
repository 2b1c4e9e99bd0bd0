"""The synchronous client against a fake channel and a fake clock."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from loyalty.client import (
    ApiKey,
    Client,
    Credential,
    LoyaltyRefusal,
    Options,
    Token,
    addresses_of,
    refusal_of_status,
)
from loyalty.common.v1 import clock_pb2_grpc
from loyalty.gateway.v1 import credential_pb2
from loyalty.ledger.v1 import ledger_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.resources_pb2 import Account

LEDGER = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
GATEWAY = credential_pb2.DESCRIPTOR.services_by_name["CredentialService"]
START = 1_700_000_000.0
PATIENCE_SECONDS = 10


@dataclass
class House:
    """Fake channels of all services on one fake clock, and a thread that calls."""

    time: Any = field(default_factory=lambda: grpc_testing.strict_fake_time(START))
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    ids: list[str] = field(default_factory=list)
    timeouts: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = grpc_testing.channel((LEDGER, GATEWAY), self.time)
        # The fake channel knows no deadlines, so they are looked at on the way in.
        state = self.channel._state
        invoke = state.invoke_rpc

        def invoke_rpc(*args: Any) -> Any:
            self.timeouts.append(args[-1])
            return invoke(*args)

        state.invoke_rpc = invoke_rpc

    def client(self, credential: Credential) -> Client:
        def make() -> str:
            self.ids.append(f"made-{len(self.ids) + 1}")
            return self.ids[-1]

        return Client(
            Options(addresses_of({})),
            credential,
            open_channel=lambda _: self.channel,
            clock=self.time.time,
            make_request_id=make,
        )

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
        return self.pool.submit(method, *args, **kwargs)

    def take(self, name: str) -> tuple[dict[str, str], Any, Any]:
        """The next call of a method: its metadata, its request and the call to answer."""
        service = GATEWAY if name == "IssueToken" else LEDGER
        taken = self.pool.submit(self.channel.take_unary_unary, service.methods_by_name[name])
        metadata, request, rpc = taken.result(PATIENCE_SECONDS)
        return ours(metadata), request, rpc

    def issue(self, token: str, seconds: float) -> dict[str, str]:
        """Answer the renewal that is under way; its metadata."""
        metadata, _, rpc = self.take("IssueToken")
        expire = Timestamp()
        expire.FromMilliseconds(int((self.time.time() + seconds) * 1000))
        response = credential_pb2.IssueTokenResponse(token=token, expire_time=expire)
        rpc.terminate(response, (), grpc.StatusCode.OK, "")
        return metadata


def ours(metadata: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The metadata without what the fake channel adds to remind us that gRPC may add some."""
    return {key: value for key, value in metadata if not key.startswith("grpc.")}


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.pool.shutdown(wait=False, cancel_futures=True)


def ok(rpc: Any, response: Any) -> None:
    rpc.terminate(response, (), grpc.StatusCode.OK, "")


def refuse(rpc: Any, status: status_pb2.Status, code: grpc.StatusCode) -> None:
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    rpc.terminate(None, trailing, code, status.message)


def status_of(
    reason: str, code: grpc.StatusCode, domain: str = "loyalty", **metadata: str
) -> status_pb2.Status:
    packed = Packed()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    return status_pb2.Status(code=code.value[0], message="no", details=[packed])


def earn(**fields: Any) -> ledger_pb2.EarnRequest:
    return ledger_pb2.EarnRequest(program="sample", member="m-1", points=5, **fields)


def test_a_call_carries_the_token_and_a_request_id_made_for_it(house: House) -> None:
    request = earn()
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    answer = house.call(ledger.Earn, request)
    metadata, received, rpc = house.take("Earn")
    ok(rpc, ledger_pb2.EarnResponse(replayed=True))

    assert answer.result(PATIENCE_SECONDS).replayed
    assert metadata == {"authorization": "Bearer jwt"}
    assert received.request_id == "made-1"
    # Sending the same message again is the same request.
    assert request.request_id == "made-1"


def test_the_callers_own_request_id_and_credential_are_left_alone(house: House) -> None:
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    answer = house.call(
        ledger.Earn, earn(request_id="till-7"), metadata=(("authorization", "Bearer mine"),)
    )
    metadata, received, rpc = house.take("Earn")
    ok(rpc, ledger_pb2.EarnResponse())
    answer.result(PATIENCE_SECONDS)

    assert received.request_id == "till-7"
    assert metadata == {"authorization": "Bearer mine"}
    assert house.ids == []


def test_every_post_of_a_batch_gets_its_own_request_id(house: House) -> None:
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    posts = [ledger_pb2.PostRequest(member="a"), ledger_pb2.PostRequest(member="b", request_id="x")]
    answer = house.call(ledger.BatchPost, ledger_pb2.BatchPostRequest(requests=[*posts, posts[0]]))
    _, received, rpc = house.take("BatchPost")
    ok(rpc, ledger_pb2.BatchPostResponse())
    answer.result(PATIENCE_SECONDS)

    assert [one.request_id for one in received.requests] == ["made-1", "x", "made-2"]


def test_a_read_gets_no_request_id(house: House) -> None:
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    answer = house.call(ledger.GetAccount, ledger_pb2.GetAccountRequest(program="p", member="m"))
    _, _, rpc = house.take("GetAccount")
    ok(rpc, Account())
    answer.result(PATIENCE_SECONDS)

    assert house.ids == []


@pytest.mark.parametrize(
    "timeout,seconds",
    [
        pytest.param(None, 10.0, id="the default deadline is ten seconds"),
        pytest.param(2.0, 2.0, id="the caller's timeout wins"),
    ],
)
def test_every_unary_call_has_a_deadline(
    house: House, timeout: float | None, seconds: float
) -> None:
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    answer = house.call(ledger.Earn, earn(), timeout=timeout)
    ok(house.take("Earn")[2], ledger_pb2.EarnResponse())
    answer.result(PATIENCE_SECONDS)

    assert house.timeouts == [seconds]


def test_a_refusal_is_raised_with_its_reason_metadata_and_code(house: House) -> None:
    code = grpc.StatusCode.FAILED_PRECONDITION
    status = status_of("INSUFFICIENT_POINTS", code, available="30", required="70")
    bad = Packed()
    bad.Pack(
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field="points", description="too many")
            ]
        )
    )
    status.details.append(bad)
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    answer = house.call(ledger.Redeem, ledger_pb2.RedeemRequest(program="p", member="m", points=70))
    _, _, rpc = house.take("Redeem")
    refuse(rpc, status, code)

    with pytest.raises(LoyaltyRefusal) as refusal:
        answer.result(PATIENCE_SECONDS)
    assert refusal.value.reason == "INSUFFICIENT_POINTS"
    assert refusal.value.metadata == {"available": "30", "required": "70"}
    assert refusal.value.code is code
    assert refusal.value.violations == (("points", "too many"),)


def test_a_failure_that_is_no_refusal_stays_what_it_is(house: House) -> None:
    ledger = house.client(Token("jwt")).stub(LedgerServiceStub)
    foreign = house.call(ledger.Earn, earn())
    refuse(
        house.take("Earn")[2],
        status_of("RATE", grpc.StatusCode.UNAVAILABLE, domain="proxy.example"),
        grpc.StatusCode.UNAVAILABLE,
    )
    bare = house.call(ledger.Earn, earn())
    house.take("Earn")[2].terminate(None, (), grpc.StatusCode.UNAVAILABLE, "gone")

    for answer in (foreign, bare):
        with pytest.raises(grpc.RpcError):
            answer.result(PATIENCE_SECONDS)


def test_an_api_key_is_turned_into_a_token_once_and_renewed_before_it_expires(
    house: House,
) -> None:
    client = house.client(ApiKey("key"))
    first = house.call(client.token)
    metadata = house.issue("one", 100)
    tokens = [first.result(PATIENCE_SECONDS), client.token()]
    house.time.sleep_for(79)
    tokens.append(client.token())
    house.time.sleep_for(2)
    renewed = house.call(client.token)
    house.issue("two", 100)
    tokens.append(renewed.result(PATIENCE_SECONDS))

    assert metadata == {"authorization": "Bearer key"}
    assert tokens == ["one", "one", "one", "two"]


def test_a_gateway_that_is_down_does_not_end_a_token_that_lives(house: House) -> None:
    client = house.client(ApiKey("key"))
    first = house.call(client.token)
    house.issue("one", 100)
    first.result(PATIENCE_SECONDS)
    house.time.sleep_for(90)
    alive = house.call(client.token)
    house.take("IssueToken")[2].terminate(None, (), grpc.StatusCode.UNAVAILABLE, "down")
    kept = alive.result(PATIENCE_SECONDS)
    house.time.sleep_for(11)
    dead = house.call(client.token)
    house.take("IssueToken")[2].terminate(None, (), grpc.StatusCode.UNAVAILABLE, "down")

    assert kept == "one"
    with pytest.raises(grpc.RpcError):
        dead.result(PATIENCE_SECONDS)


def test_a_key_that_is_refused_is_a_refusal(house: House) -> None:
    client = house.client(ApiKey("key"))
    answer = house.call(client.stub(LedgerServiceStub).Earn, earn())
    code = grpc.StatusCode.UNAUTHENTICATED
    refuse(house.take("IssueToken")[2], status_of("CREDENTIAL_INVALID", code), code)

    with pytest.raises(LoyaltyRefusal, match="CREDENTIAL_INVALID"):
        answer.result(PATIENCE_SECONDS)


def test_a_stream_is_authorized_and_its_refusal_is_raised(house: House) -> None:
    watch = house.client(Token("jwt")).stub(LedgerServiceStub).WatchChanges
    stream = watch(ledger_pb2.WatchChangesRequest())
    metadata, _, rpc = house.channel.take_unary_stream(LEDGER.methods_by_name["WatchChanges"])
    rpc.send_response(ledger_pb2.WatchChangesResponse(cursors={1: 7}))
    answers = house.call(lambda: dict(next(stream).cursors))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    seen = answers.result(PATIENCE_SECONDS)
    trailing = (("grpc-status-details-bin", status_of("OVERLOADED", code).SerializeToString()),)
    rpc.terminate(trailing, code, "no")

    assert seen == {1: 7}
    assert house.timeouts == [None]
    assert ours(metadata) == {"authorization": "Bearer jwt"}
    with pytest.raises(LoyaltyRefusal, match="OVERLOADED"):
        next(stream)


def test_a_stub_of_a_shared_package_needs_the_name_of_its_service(house: House) -> None:
    client = house.client(Token("jwt"))

    with pytest.raises(ValueError, match="name the service"):
        client.stub(clock_pb2_grpc.ClockServiceStub)
    client.stub(clock_pb2_grpc.ClockServiceStub, service="ledger")


def test_the_refusal_of_a_batchs_item_is_read_from_its_status() -> None:
    code = grpc.StatusCode.NOT_FOUND
    refusal = refusal_of_status(status_of("MEMBER_NOT_FOUND", code, member="m"))

    assert refusal is not None
    assert (refusal.reason, refusal.metadata) == ("MEMBER_NOT_FOUND", {"member": "m"})
    assert refusal_of_status(status_pb2.Status(code=5)) is None

"""What a service shows on its own account, and the channels on which it does."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health_pb2,
    health_pb2_grpc,
)

from chassis.call import Call, bind_call
from chassis.channels import open_channel
from chassis.credentials import OwnCredentials
from chassis.server import build_server
from chassis.tracing import begin_trace
from testkit import keys
from testkit.servers import running, settings
from tests.chassis.certificates import certificates

SCOPES = frozenset({"ledger:read", "programs:read"})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def own(clock: Clock) -> OwnCredentials:
    return OwnCredentials(keys.issuer(), "service:test", SCOPES, renew_seconds=600, clock=clock)


def test_a_token_says_who_acts_for_whom_and_what_for() -> None:
    credentials = own(Clock())
    verifier = keys.verifier()
    acting = verifier.identify(dict(credentials.acting_for("acme"))["authorization"]).identity
    following = verifier.identify(dict(credentials.following())["authorization"]).identity

    assert (acting.organization, acting.actor, acting.scopes) == ("acme", "service:test", SCOPES)
    assert following.organization == "-"
    assert following.scopes == frozenset({"changes:read", "service"})


def test_a_token_is_kept_until_it_is_to_be_renewed_and_is_each_organizations_own() -> None:
    clock = Clock()
    credentials = own(clock)
    first = credentials.acting_for("acme")
    clock.now = 599.9
    kept = credentials.acting_for("acme")
    other = credentials.acting_for("other")
    clock.now = 600.0
    # The token differs only if its second does: what is asked is whether a new one was signed.
    renewed = credentials.acting_for("acme")

    assert kept[0] is first[0]
    assert renewed[0] is not first[0]
    assert other != first


async def test_the_trace_of_the_call_at_hand_goes_with_it_and_the_callers_credential_does_not() -> (
    None
):
    trace = begin_trace(None)
    context: Any = None

    async def within() -> tuple[tuple[str, str], ...]:
        bind_call(Call("m", context, trace, 0.0, "Bearer theirs"))
        return own(Clock()).acting_for("acme")

    shown = dict(await asyncio.create_task(within()))

    assert shown["traceparent"] == trace.header()
    assert "theirs" not in shown["authorization"]


async def raw(channel: grpc.aio.Channel, method: str) -> None:
    """Call a method with no bytes."""
    call: Any = channel.unary_unary(method)
    await call(b"", timeout=5)


async def test_only_what_is_named_is_called_again() -> None:
    calls = {"Once": 0, "Twice": 0}

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            async def answer(_: Any, context: Any) -> bytes:
                name = details.method.rpartition("/")[2]
                calls[name] += 1
                if calls[name] == 1:
                    await context.abort(grpc.StatusCode.UNAVAILABLE)
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}", settings(), ["/a.B/Twice", "c.D"]) as channel:
        for method in ("/a.B/Twice", "/c.D/Twice"):
            await raw(channel, method)
            calls["Twice"] = 0
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(channel, "/a.B/Once")
    await server.stop(None)

    assert calls["Once"] == 1


async def test_with_certificates_a_channel_shows_its_own_and_trusts_the_authoritys(
    tmp_path: Path,
) -> None:
    ours = certificates(tmp_path / "ours")
    changes = {
        "tls_key_path": ours.key,
        "tls_certificate_path": ours.certificate,
        "tls_ca_path": ours.authority,
    }
    server = build_server(
        name="test", servicers=[], scopes={}, verifier=keys.verifier(), settings=settings(**changes)
    )
    async with (
        running(server) as port,
        open_channel(f"localhost:{port}", settings(**changes)) as shows,
        open_channel(f"localhost:{port}", settings()) as plain,
    ):
        answer = await health_pb2_grpc.HealthStub(shows).Check(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.aio.AioRpcError):
            await health_pb2_grpc.HealthStub(plain).Check(
                health_pb2.HealthCheckRequest(), timeout=2
            )

    assert answer.status == health_pb2.HealthCheckResponse.SERVING

"""The server: where it listens, health, reflection, metrics, and how it drains."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)
from pydantic import ValidationError

from chassis.identity import Scope
from chassis.server import PortTaken, Server, build_server
from chassis.settings import ServiceSettings
from loyalty.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from testkit import keys, servers
from testkit.keys import metadata, token
from tests.chassis.certificates import Certificates, certificates
from tests.chassis.scripted import (
    SCOPES,
    SERVICE,
    an_earn,
    answer,
    drained,
    refused,
    scripted,
    servicer,
    stub,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def build(port: int = 0, name: str = "test", **changes: Any) -> Server:
    add = ledger_pb2_grpc.add_LedgerServiceServicer_to_server
    return build_server(
        name=name,
        servicers=[(add, servicer(), SERVICE)],
        scopes=SCOPES,
        verifier=keys.verifier(),
        settings=servers.settings(**changes),
        port=port,
        extra_health=["lanes"],
    )


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_needs_no_credential(service: str) -> None:
    async with scripted() as (server, channel):
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        before = await health.Check(request)
        await server.set_serving(serving=False, service=service)
        after = await health.Check(request)

    assert (before.status, after.status) == (SERVING, NOT_SERVING)


async def test_health_is_answered_while_calls_are_refused_for_load() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, context: Any) -> Any:
        begun.set()
        await release.wait()
        return await answer(request, context)

    async with scripted(earn=wait, max_in_flight=1) as (_, channel):
        call = asyncio.ensure_future(_code(stub(channel).Earn(an_earn(), metadata=metadata())))
        await begun.wait()
        checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        release.set()

        assert checked.status == SERVING
        assert await call == "OK"


async def test_names_given_by_the_service_have_a_health_of_their_own() -> None:
    lanes = health_pb2.HealthCheckRequest(service="lanes")
    async with (
        servers.running(build()) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        checked = await health_pb2_grpc.HealthStub(channel).Check(lanes)

    assert checked.status == SERVING


async def test_reflection_answers_whoever_has_a_credential() -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with scripted() as (_, channel):
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        credential = metadata(token(scopes=()))
        listed = await drained(reflect(iter([request]), metadata=credential))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(reflect(iter([request])))

    assert SERVICE in {each.name for each in listed[0].list_services_response.service}
    assert refused(caught.value)[1] == "CREDENTIAL_MISSING"


async def test_a_drain_finishes_calls_in_flight_and_takes_no_more() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, context: Any) -> Any:
        begun.set()
        await release.wait()
        return await answer(request, context)

    async with scripted(earn=wait) as (server, channel):
        call = asyncio.ensure_future(_code(stub(channel).Earn(an_earn(), metadata=metadata())))
        await begun.wait()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.1)
        late = await _code(stub(channel).Earn(an_earn(), metadata=metadata(), timeout=1.0))
        release.set()

        assert await call == "OK"
        await stopping
        assert late in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}


async def test_a_drain_says_not_serving_to_whoever_watches_health() -> None:
    async with scripted() as (server, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        states = aiter(watch)
        assert (await anext(states)).status == SERVING
        stopping = asyncio.ensure_future(server.stop())
        said = await anext(states)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(states)
        await stopping

    assert said.status == NOT_SERVING
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_drain_ends_streams_at_once_and_sends_their_callers_elsewhere() -> None:
    ended = asyncio.Event()

    async def forever(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            yield ledger_pb2.WatchChangesResponse()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with scripted(watch=forever, drain_seconds=30.0) as (server, channel):
        call = stub(channel).WatchChanges(ledger_pb2.WatchChangesRequest(), metadata=metadata())
        responses = aiter(call)
        await anext(responses)
        # Far less than the drain would wait for a call.
        async with asyncio.timeout(20):
            stopping = asyncio.ensure_future(server.stop())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(responses)
            await stopping
        await ended.wait()

    assert refused(caught.value)[:2] == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")


async def test_a_call_that_outlives_the_drain_is_ended() -> None:
    begun = asyncio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        begun.set()
        await asyncio.sleep(3600)

    async with scripted(earn=wait, drain_seconds=0.2) as (server, channel):
        call = asyncio.ensure_future(_code(stub(channel).Earn(an_earn(), metadata=metadata())))
        await begun.wait()
        async with asyncio.timeout(10):
            await server.stop()
            assert await call != "OK"


async def test_a_taken_port_is_a_clear_error() -> None:
    async with servers.running(build()) as port:
        with pytest.raises(PortTaken, match=f"test cannot listen on 127.0.0.1:{port}"):
            await build(port=port).start()


async def test_several_processes_share_a_port_only_where_that_is_set() -> None:
    first, second = build(reuse_port=True), build(reuse_port=True)
    async with servers.running(first) as port:
        second.port = port
        async with servers.running(second) as shared:
            assert shared == port


PLAIN = {
    "everywhere": ("0.0.0.0", "", False),
    "everywhere, by its name": ("0.0.0.0", "gateway, test", True),
    "everywhere, by another's name": ("0.0.0.0", "gateway", False),
    "a host name": ("example.invalid", "", False),
    "loopback": ("127.0.0.2", "", True),
    "localhost": ("localhost", "", True),
}


@pytest.mark.parametrize("case", PLAIN)
async def test_a_plain_port_beyond_loopback_must_be_asked_for_by_name(case: str) -> None:
    host, allowed, is_served = PLAIN[case]
    server = build(host=host, allow_plaintext=allowed)
    if is_served:
        async with servers.running(server) as port:
            assert port > 0
        return

    with pytest.raises(ValueError, match="LOYALTY_ALLOW_PLAINTEXT"):
        await server.start()


async def test_with_certificates_only_callers_of_the_same_authority_are_served(
    tmp_path: Path,
) -> None:
    ours, strangers = certificates(tmp_path / "ours"), certificates(tmp_path / "strangers")
    server = build(
        tls_key_path=ours.key, tls_certificate_path=ours.certificate, tls_ca_path=ours.authority
    )
    authority = ours.authority.read_bytes()
    async with servers.running(server) as port:
        served = await _earn_with_tls(port, authority, ours)
        strange = await _earn_with_tls(port, authority, strangers)
        async with grpc.aio.secure_channel(
            f"localhost:{port}", grpc.ssl_channel_credentials(authority)
        ) as channel:
            nobody = await _code(stub(channel).Earn(an_earn(), metadata=metadata(), timeout=3.0))

    assert (served, strange, nobody) == ("OK", "UNAVAILABLE", "UNAVAILABLE")


def test_certificates_come_together() -> None:
    with pytest.raises(ValidationError, match="come together"):
        ServiceSettings(tls_key_path=Path("key.pem"))


async def test_metrics_are_shown_on_a_port_of_their_own() -> None:
    server = build(name="shown", metrics_port=0)
    async with servers.running(server) as port:
        async with servers.authorized_channel(port) as channel:
            await stub(channel).Earn(an_earn())
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        shown = await asyncio.to_thread(_read, url)

    labels = f'code="OK",method="/{SERVICE}/Earn",reason="",service="shown"'
    assert f"loyalty_calls_total{{{labels}}} 1.0" in shown
    assert 'loyalty_calls_in_flight{kind="unary",service="shown"} 0.0' in shown


def test_a_method_open_to_members_must_name_its_member() -> None:
    add = ledger_pb2_grpc.add_LedgerServiceServicer_to_server
    with pytest.raises(ValueError, match="names no program and member"):
        build_server(
            name="test",
            servicers=[(add, servicer(), SERVICE)],
            scopes={f"/{SERVICE}/BatchPost": Scope("ledger:write", member=True)},
            verifier=keys.verifier(),
            settings=servers.settings(),
        )


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_MAX_IN_FLIGHT", "7")
    monkeypatch.setenv("LOYALTY_HOST", "127.0.0.9")

    read = ServiceSettings()
    assert (read.max_in_flight, read.host) == (7, "127.0.0.9")
    with pytest.raises(ValidationError):
        read.host = "0.0.0.0"


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: bytes = response.read()
    return text.decode()


async def _earn_with_tls(port: int, authority: bytes, caller: Certificates) -> str:
    credentials = caller.credentials(authority)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        return await _code(stub(channel).Earn(an_earn(), metadata=metadata(), timeout=3.0))


async def _code(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"

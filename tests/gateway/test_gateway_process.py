"""The gateway as a process: it starts, drains on SIGTERM, and says when a port is taken."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.settings import read_settings
from loyalty.ledger.v1 import resources_pb2
from services.gateway.settings import GatewaySettings
from tests.gateway.gateway_kit import ADMIN, FakeService, gateway_settings

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def gateway_process(
    folder: Path, ledger_port: int, http_port: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway in a process of its own; killed at the end if it still runs."""
    gateway_settings(folder)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")},
        "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
        "LOYALTY_HTTP_PORT": str(http_port),
        "LOYALTY_GATEWAY_PORT": "0",
        "LOYALTY_LEDGER_PORT": str(ledger_port),
        "LOYALTY_JWKS_PATH": str(folder / "jwks.json"),
        "LOYALTY_SIGNING_PATH": str(folder / "signing.json"),
        "LOYALTY_CREDENTIALS_PATH": str(folder / "credentials.json"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.gateway"),
        env=environment,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_live(client: httpx.AsyncClient) -> None:
    for _ in range(200):
        try:
            if (await client.get("/healthz")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("the gateway does not come up")


async def test_a_call_in_flight_is_answered_before_the_process_ends(
    ledger: FakeService, tmp_path: Path
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def wait(_request: Any, _context: Any) -> resources_pb2.Account:
        arrived.set()
        await release.wait()
        return resources_pb2.Account(member="m1")

    ledger.answers["GetAccount"] = wait
    port = free_port()
    async with (
        gateway_process(tmp_path, ledger.port, port) as process,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        ) as client,
    ):
        await until_live(client)
        call = asyncio.create_task(client.get("/v1/programs/p/members/m1/account"))
        await asyncio.wait_for(arrived.wait(), 10)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        release.set()
        answer = await call
        _, errors = await asyncio.wait_for(process.communicate(), 20)

    assert (answer.status_code, answer.json()["member"]) == (200, "m1")
    assert process.returncode == 0
    assert b'"route": "/v1/programs/{program}/members/{member}/account"' in errors.replace(
        b'":"', b'": "'
    )
    assert ADMIN.encode() not in errors
    assert b"Traceback" not in errors


async def test_a_port_that_is_taken_is_said_in_a_sentence(
    ledger: FakeService, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with gateway_process(tmp_path, ledger.port, port) as process:
            _, errors = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}".encode() in errors
    assert b"Traceback" not in errors


def test_services_are_found_by_port_or_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LOYALTY_RULES_ADDRESS": "rules:50052",
        "LOYALTY_AUDIENCE_PORT": "6000",
        "LOYALTY_TIERS_PORT": "6001",
        "LOYALTY_TIERS_ADDRESS": "tiers.example:7000",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOYALTY_LEDGER_PORT", raising=False)
    monkeypatch.delenv("LOYALTY_LEDGER_ADDRESS", raising=False)

    assert read_settings(GatewaySettings).targets() == {
        "ledger": "127.0.0.1:50051",
        "rules": "rules:50052",
        "tiers": "tiers.example:7000",
        "audience": "127.0.0.1:6000",
    }

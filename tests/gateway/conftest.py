"""A real gateway before a ledger that answers what a test tells it to."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.__main__ import Ports, running
from tests.gateway.gateway_kit import ADMIN, FakeLedger, gateway_settings


@pytest.fixture(scope="session")
async def ledger_server() -> AsyncIterator[FakeLedger]:
    fake = FakeLedger()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def ledger(ledger_server: FakeLedger) -> FakeLedger:
    ledger_server.answers.clear()
    ledger_server.seen.clear()
    return ledger_server


@pytest.fixture(scope="session")
async def ports(
    ledger_server: FakeLedger, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ports]:
    folder = tmp_path_factory.mktemp("gateway")
    async with running(gateway_settings(folder, ledger_server.port)) as ports:
        yield ports


@pytest.fixture
async def client(ports: Ports, ledger: FakeLedger) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{ports.http}",
        headers={"authorization": f"Bearer {ADMIN}"},
        trust_env=False,
    ) as client:
        yield client

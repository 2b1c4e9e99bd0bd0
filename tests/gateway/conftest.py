"""A real gateway before services that answer what a test tells them to."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.__main__ import Ports, running
from tests.gateway.gateway_kit import ADMIN, FakeService, FakeSuite, gateway_settings


@pytest.fixture(scope="session")
async def fake_suite() -> AsyncIterator[FakeSuite]:
    fakes = FakeSuite()
    await fakes.start()
    yield fakes
    await fakes.stop()


@pytest.fixture
def fakes(fake_suite: FakeSuite) -> FakeSuite:
    for service in fake_suite.services.values():
        service.reset()
    return fake_suite


@pytest.fixture
def ledger(fakes: FakeSuite) -> FakeService:
    return fakes["ledger"]


@pytest.fixture(scope="session")
async def ports(
    fake_suite: FakeSuite, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ports]:
    folder = tmp_path_factory.mktemp("gateway")
    async with running(gateway_settings(folder, **fake_suite.addresses)) as ports:
        yield ports


@pytest.fixture
async def client(ports: Ports, fakes: FakeSuite) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{ports.http}",
        headers={"authorization": f"Bearer {ADMIN}"},
        trust_env=False,
        # Reading the world's certificates, which nobody shows here, takes longer than a call.
        verify=False,
    ) as client:
        yield client

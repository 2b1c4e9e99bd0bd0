"""The gateway before a real ledger over a real database."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.__main__ import Ports, running
from testkit.postgres import TestPostgres
from tests.gateway.gateway_kit import ADMIN, EVERYTHING, gateway_settings, write_keys
from tests.ledger.programs_kit import ledger_under_test

STRANGER = "key-of-another-organization"


@pytest.fixture(scope="session")
async def suite(
    postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ports]:
    """A ledger and a gateway; the organizations `acme` and `other` are registered."""
    folder = tmp_path_factory.mktemp("suite")
    database = postgres.fresh("ledger")
    async with ledger_under_test(database) as ledger:
        await ledger.create_organization("acme")
        settings = gateway_settings(folder, ledger_address=f"127.0.0.1:{ledger.port}")
        write_keys(folder, {ADMIN: ("acme", EVERYTHING), STRANGER: ("other", EVERYTHING)})
        async with running(settings) as ports:
            yield ports
    postgres.drop(database.name)


@pytest.fixture
async def http(suite: Ports) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the administrator's key of `acme`."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{suite.http}",
        headers={"authorization": f"Bearer {ADMIN}"},
        limits=httpx.Limits(max_connections=60),
        timeout=30,
        trust_env=False,
    ) as client:
        yield client

"""The gateway before real services over real databases."""

from collections.abc import AsyncIterator

import httpx
import pytest

from testkit.postgres import TestPostgres
from tests.journeys.suite_kit import Suite, running_suite


@pytest.fixture(scope="session")
async def suite(
    postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    """All five services; the organization `acme` is registered."""
    async with running_suite(postgres, tmp_path_factory.mktemp("suite")) as suite:
        yield suite


@pytest.fixture
async def http(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the administrator's key of `acme`."""
    async with suite.client() as client:
        yield client

"""Fixtures of the tests of rules."""

from collections.abc import AsyncIterator

import pytest

from testkit.postgres import TestPostgres
from tests.rules.kit import Suite, suite


@pytest.fixture
async def served(postgres: TestPostgres) -> AsyncIterator[Suite]:
    """A ledger, tiers set by hand and rules, over fresh databases."""
    async with suite(postgres) as running:
        yield running


@pytest.fixture(scope="module")
async def shared(postgres: TestPostgres) -> AsyncIterator[Suite]:
    """The same for all tests of a module; they use programs of their own or leave nothing."""
    async with suite(postgres) as running:
        yield running

"""Fixtures of the ledger's tests."""

from collections.abc import AsyncIterator

import pytest

from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test


@pytest.fixture
async def ledger(ledger_database: TestDatabase) -> AsyncIterator[LedgerUnderTest]:
    """A ledger over a fresh database, with the organization `acme`."""
    async with ledger_under_test(ledger_database) as served:
        await served.create_organization()
        yield served

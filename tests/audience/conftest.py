"""Fixtures of the audience service's tests."""

from collections.abc import AsyncIterator, Iterator

import pytest

from testkit.postgres import TestDatabase, TestPostgres
from tests.audience.audience_kit import AUTO_ENROL, AudienceUnderTest, audience_under_test
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test


@pytest.fixture
def audience_database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """A fresh database of the audience service, dropped after the test."""
    database = postgres.fresh("audience")
    yield database
    postgres.drop(database.name)


@pytest.fixture
async def ledger(ledger_database: TestDatabase) -> AsyncIterator[LedgerUnderTest]:
    """A real ledger with the organization `acme` and its program `p1`."""
    async with ledger_under_test(ledger_database) as served:
        await served.create_organization()
        await served.create_program("p1", settings=AUTO_ENROL)
        yield served


@pytest.fixture
async def suite(
    audience_database: TestDatabase, ledger: LedgerUnderTest
) -> AsyncIterator[AudienceUnderTest]:
    """The audience service, following that ledger and a stand-in for the tiers."""
    async with audience_under_test(audience_database, ledger) as served:
        yield served

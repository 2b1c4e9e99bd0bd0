"""Fixtures of the tests of the tiers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from testkit.postgres import TestDatabase, TestPostgres
from tests.tiers.kit import LedgerServer, Tiers, tiers_server


@pytest.fixture
def tiers_database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """A fresh database of the tiers, dropped after the test."""
    database = postgres.fresh("tiers")
    yield database
    postgres.drop(database.name)


@pytest.fixture
async def ledger_server(ledger_database: TestDatabase) -> AsyncIterator[LedgerServer]:
    """A ledger with the organization `acme` and the program `p1`."""
    ledger = LedgerServer(ledger_database)
    await ledger.start()
    await ledger.create_organization()
    await ledger.create_program()
    yield ledger
    await ledger.stop()


@pytest.fixture
async def quiet(tiers_database: TestDatabase, ledger_server: LedgerServer) -> AsyncIterator[Tiers]:
    """Tiers that do not follow the ledger: members move when they are evaluated."""
    async with tiers_server(tiers_database, ledger_server.port, following=False) as served:
        yield served


@pytest.fixture
async def tiers(tiers_database: TestDatabase, ledger_server: LedgerServer) -> AsyncIterator[Tiers]:
    """Tiers that follow the ledger."""
    async with tiers_server(tiers_database, ledger_server.port) as served:
        yield served

"""Fixtures of the ledger's tests."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from testkit.keys import token
from testkit.postgres import TestDatabase, TestPostgres
from testkit.servers import authorized_channel
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test

_numbers = itertools.count(1)


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> LedgerUnderTest:
    """A ledger over a fresh database with the organization `acme`.

    In a module that is marked with `shared_ledger` it is one that other tests use, too, with an
    organization of the test's own: starting it costs nothing. A test of such a module that looks at
    whole tables or names organizations is marked with `own_ledger`.
    """
    kind = "own_ledger"
    for mark in request.node.iter_markers():
        if mark.name in ("shared_ledger", "own_ledger"):
            kind = mark.name
            break
    found: LedgerUnderTest = request.getfixturevalue(kind)
    return found


@pytest.fixture
async def own_ledger(ledger_database: TestDatabase) -> AsyncIterator[LedgerUnderTest]:
    """A ledger over a fresh database, with the organization `acme`."""
    async with ledger_under_test(ledger_database) as served:
        await served.create_organization()
        yield served


@pytest.fixture(scope="session")
async def ledger_of_all(postgres: TestPostgres) -> AsyncIterator[LedgerUnderTest]:
    """The one that the tests of this process share."""
    async with ledger_under_test(postgres.fresh("ledger")) as served:
        yield served


@pytest.fixture
async def shared_ledger(ledger_of_all: LedgerUnderTest) -> AsyncIterator[LedgerUnderTest]:
    """A ledger that others use, too, with an organization of the test's own."""
    organization = f"acme-{next(_numbers)}"
    async with authorized_channel(ledger_of_all.port, token(organization)) as channel:
        own = replace(ledger_of_all, channel=channel)
        await own.create_organization(organization)
        yield own

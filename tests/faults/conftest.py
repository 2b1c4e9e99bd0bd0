"""Ledger processes for the tests of faults."""

from collections.abc import Iterator

import pytest

from testkit.postgres import TestPostgres
from tests.properties.driver import Ledger
from tests.properties.effort import SEED
from tests.properties.ledger_process import Cluster


@pytest.fixture(scope="module")
def cluster(postgres: TestPostgres) -> Iterator[Cluster]:
    """Two ledger processes over a fresh database, and the organization `acme`."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    database = postgres.fresh("ledger")
    cluster = Cluster(database)
    try:
        cluster.start()
        cluster.start()
        first = cluster.processes[0].connect()
        first.register("acme")
        first.close()
        yield cluster
    finally:
        cluster.stop()
        postgres.drop(database.name)


@pytest.fixture
def ledgers(cluster: Cluster) -> Iterator[list[Ledger]]:
    """Stubs of the two processes."""
    connected = [process.connect() for process in cluster.processes[:2]]
    yield connected
    for ledger in connected:
        ledger.close()

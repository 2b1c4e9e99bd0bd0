"""A ledger process for the property tests."""

from collections.abc import Iterator

import pytest

from testkit.postgres import TestPostgres
from tests.properties.driver import Ledger
from tests.properties.ledger_process import Cluster


@pytest.fixture(scope="session")
def cluster(postgres: TestPostgres) -> Iterator[Cluster]:
    """Ledger processes over a fresh database; one is running."""
    database = postgres.fresh("ledger")
    cluster = Cluster(database)
    try:
        cluster.start()
        yield cluster
        faults = [fault for process in cluster.processes for fault in process.faults()]
        assert faults == []
    finally:
        cluster.stop()
        postgres.drop(database.name)


@pytest.fixture(scope="session")
def ledger(cluster: Cluster) -> Iterator[Ledger]:
    """Stubs of the first process, for the organization `acme`, which is registered."""
    ledger = cluster.processes[0].connect()
    ledger.register("acme")
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def three(cluster: Cluster, ledger: Ledger) -> Iterator[list[Ledger]]:
    """Three processes over one database."""
    others = [cluster.start() for _ in range(2)]
    ledgers = [ledger, *(process.connect() for process in others)]
    yield ledgers
    for connected in ledgers[1:]:
        connected.close()
    for process in others:
        process.stop()

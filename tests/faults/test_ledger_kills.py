"""`kill -9` of the ledger, and of its database, again and again under every kind of command."""

import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chassis.postgres import EmbeddedPostgres
from testkit.postgres import TestPostgres
from tests.faults.endless_load import EndlessLoad, new_busy_program
from tests.faults.ledger_books import assert_books_balance, assert_stream_tells_all
from tests.properties.driver import Ledger
from tests.properties.effort import LONG, SEED
from tests.properties.ledger_process import Cluster

LEDGER_KILLS = 70 if LONG else 2
POSTGRES_KILLS = 40 if LONG else 1


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A durable server that the test may kill."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-killed-"))
    server = EmbeddedPostgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_cluster(own_postgres: EmbeddedPostgres) -> Iterator[Cluster]:
    """Two ledger processes over it, and the organization `acme`."""
    cluster = Cluster(TestPostgres(own_postgres).fresh("ledger"))
    try:
        first = cluster.start().connect()
        first.register("acme")
        first.close()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def campaign(cluster: Cluster, kill: Callable[[random.Random], None], kills: int) -> None:
    """Kills so many times while callers go on; then every book must balance."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    ledgers: list[Ledger] = [process.connect() for process in cluster.processes]
    program = f"p{uuid.uuid4().hex}"
    new_busy_program(ledgers[0], program)
    load = EndlessLoad(program, ledgers, SEED)
    began = time.monotonic()
    load.start()
    try:
        for _ in range(kills):
            answered = len(load.books.told)
            time.sleep(dice.uniform(0.2, 1.0))
            kill(dice)
            give_up = time.monotonic() + 60
            while len(load.books.told) <= answered and not load.failures:
                assert time.monotonic() < give_up, "nobody was answered any more"
                time.sleep(0.05)
    finally:
        load.stop()

    postings = assert_books_balance(ledgers[0], program, load.moves, load.books)
    assert_stream_tells_all(ledgers[0], program, postings)
    for ledger in ledgers:
        ledger.close()
    print(
        f"{kills} kills, {len(load.moves)} requests, {len(load.books.told)} applied, "
        f"{load.books.retries} sent again, {sum(load.books.refusals.values())} refused, "
        f"0 lost, 0 doubled, {time.monotonic() - began:.0f} s"
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_of_the_ledger_lose_and_double_nothing(own_cluster: Cluster) -> None:
    """One of two processes dies without warning; callers take their request ids to the other."""

    def kill(dice: random.Random) -> None:
        victim = dice.choice(own_cluster.processes)
        victim.kill()
        victim.start()
        victim.wait()

    campaign(own_cluster, kill, LEDGER_KILLS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_of_both_ledgers_at_once_lose_and_double_nothing(own_cluster: Cluster) -> None:
    """Nobody is left to ask; callers go on asking until somebody is."""

    def kill(_dice: random.Random) -> None:
        for victim in own_cluster.processes:
            victim.kill()
        for victim in own_cluster.processes:
            victim.start()
        for victim in own_cluster.processes:
            victim.wait()

    campaign(own_cluster, kill, 10 if LONG else 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_of_postgres_lose_and_double_nothing(
    own_cluster: Cluster, own_postgres: EmbeddedPostgres
) -> None:
    """The database dies without warning; the ledgers live on and say who is missing."""

    def kill(_dice: random.Random) -> None:
        postmaster = own_postgres.process
        assert postmaster is not None
        postmaster.kill()
        # In the main thread: the database dies with the thread that started it.
        own_postgres.restart()

    campaign(own_cluster, kill, POSTGRES_KILLS)
    assert all(process.alive() for process in own_cluster.processes)

"""The ledger's database killed under load."""

import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chassis.postgres import EmbeddedPostgres
from testkit.postgres import TestPostgres
from tests.faults.ledger_books import (
    Books,
    Move,
    assert_books_balance,
    assert_stream_tells_all,
    mixed_moves,
    new_program,
    race,
    send,
)
from tests.properties.effort import SEED
from tests.properties.ledger_process import Cluster, LedgerProcess


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A durable server that the test may kill."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-killed-"))
    server = EmbeddedPostgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_killed_postgres_loses_and_doubles_nothing(own_postgres: EmbeddedPostgres) -> None:
    """`kill -9` of the database under load; callers repeat their ids until they are answered."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    cluster = Cluster(TestPostgres(own_postgres).fresh("ledger"))
    try:
        process: LedgerProcess = cluster.start()
        ledger = process.connect()
        ledger.register("acme")
        program, books = new_program(ledger), Books()
        moves = mixed_moves(dice, program, members=4, count=400)
        dice.shuffle(moves)
        half = threading.Event()

        def do(number: int, move: Move) -> None:
            if number == len(moves) // 2:
                half.set()
            books.note(move, send([ledger], move))

        with ThreadPoolExecutor(1) as pool:
            racing = pool.submit(race, moves, do)
            assert half.wait(timeout=60)
            postmaster = own_postgres.process
            assert postmaster is not None
            postmaster.kill()
            # In the main thread: the database dies with the thread that started it.
            own_postgres.restart()
            racing.result(timeout=100)

        assert set(books.refusals) <= {"INSUFFICIENT_POINTS", "MEMBER_NOT_FOUND"}
        postings = assert_books_balance(ledger, program, moves, books)
        assert_stream_tells_all(ledger, program, postings)
        assert process.alive()
        ledger.close()
    finally:
        for each in cluster.processes:
            print("\n".join(each.faults()))
        cluster.stop()

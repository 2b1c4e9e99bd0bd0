"""Two ledgers over one database, raced and killed: sums right, nothing lost, nothing doubled."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import pytest

from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from testkit.postgres import TestPostgres
from tests.faults.ledger_books import (
    Books,
    Move,
    assert_books_balance,
    assert_stream_tells_all,
    earn,
    entries_of,
    method,
    mixed_moves,
    new_program,
    race,
    redeem,
    send,
)
from tests.properties.driver import Ledger
from tests.properties.effort import SEED
from tests.properties.ledger_process import Cluster
from tests.properties.messages import refused
from tests.properties.model_shapes import Refused


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


def test_fifty_redeems_of_ten_on_250_are_twenty_five(ledgers: list[Ledger]) -> None:
    """Through two processes at once; the refused ones are told that nothing is left."""
    program, books = new_program(ledgers[0]), Books()
    first = earn(program, "ada", 250, "e")
    books.note(first, send(ledgers, first))
    moves = [redeem(program, "ada", 10, f"r{number}") for number in range(50)]
    refusals: list[Refused] = []

    def do(number: int, move: Move) -> None:
        answer = send([ledgers[number % 2]], move)
        books.note(move, answer)
        if isinstance(answer, Refused):
            refusals.append(answer)

    race(moves, do)

    assert books.refusals == {"INSUFFICIENT_POINTS": 25}
    assert all(
        refusal.metadata == {"available": "0", "required": "10", "shortfall": "10"}
        for refusal in refusals
    )
    postings = assert_books_balance(ledgers[0], program, [first, *moves], books)
    assert_stream_tells_all(ledgers[1], program, postings)


@pytest.mark.slow
def test_a_killed_ledger_loses_and_doubles_nothing(cluster: Cluster, ledgers: list[Ledger]) -> None:
    """`kill -9` of one of two processes in the middle; callers go to the other with their ids."""
    dice = random.Random(SEED)
    program, books = new_program(ledgers[0]), Books()
    moves = mixed_moves(dice, program, members=4, count=600)
    victim = cluster.start()
    doomed = victim.connect()
    dice.shuffle(moves)

    def do(number: int, move: Move) -> None:
        if number == len(moves) // 2:
            victim.kill()
        order = [doomed, ledgers[0]] if number % 2 else [ledgers[0], doomed]
        books.note(move, send(order, move))

    race(moves, do)
    doomed.close()

    assert set(books.refusals) <= {"INSUFFICIENT_POINTS", "MEMBER_NOT_FOUND"}
    postings = assert_books_balance(ledgers[1], program, moves, books)
    assert_stream_tells_all(ledgers[1], program, postings)


def batch(program: str, *posts: tuple[str, str, int]) -> ledger_pb2.BatchPostRequest:
    """A batch of earnings: member, request id, points."""
    request = ledger_pb2.BatchPostRequest(program=program)
    for member, request_id, points in posts:
        post = request.requests.add(member=member, request_id=request_id)
        post.operations.add().earn.points = points
    return request


def test_two_batches_that_create_accounts_in_opposite_order_both_apply(
    ledgers: list[Ledger],
) -> None:
    """Thirty rounds at both processes: no deadlock reaches a caller."""
    program = new_program(ledgers[0])

    def call(ledger: Ledger, request: ledger_pb2.BatchPostRequest) -> list[str]:
        answer = ledger.call(ledger.ledger.BatchPost, request)
        return [result.WhichOneof("result") for result in answer.results]

    with ThreadPoolExecutor(4) as pool:
        for number in range(30):
            members = [f"{name}{number}" for name in "abcdef"]
            there = batch(program, *((member, "there", 1) for member in members))
            back = batch(program, *((member, "back", 2) for member in reversed(members)))
            calls = [
                pool.submit(call, ledgers[which], request)
                for which in (0, 1)
                for request in (there, back)
            ]

            assert [done.result(timeout=30) for done in calls] == [["posting"] * 6] * 4
            everybody = ledgers[0].call(
                ledgers[0].ledger.BatchGetAccounts,
                ledger_pb2.BatchGetAccountsRequest(program=program, members=members),
            )
            assert [account.balances[0].available for account in everybody.accounts] == [3] * 6
            assert {account.version for account in everybody.accounts} == {2}


def test_a_request_id_twice_in_a_batch_is_one_posting(ledgers: list[Ledger]) -> None:
    """The same again is a replay; another request under that id is refused."""
    program = new_program(ledgers[0])
    request = batch(program, ("ada", "x", 5), ("ada", "x", 5), ("ada", "x", 6), ("bob", "x", 6))

    results = ledgers[0].call(ledgers[0].ledger.BatchPost, request).results

    assert [result.replayed for result in results] == [False, True, False, False]
    assert results[0].posting == results[1].posting
    assert refused(results[2].status).reason == "REQUEST_ID_REUSED"
    assert results[3].posting.member == "bob"


def test_a_caller_who_leaves_takes_nobody_along(ledgers: list[Ledger]) -> None:
    """Calls cancelled at any moment: each applied once or not at all, their neighbours all."""
    dice = random.Random(SEED)
    program, books = new_program(ledgers[0]), Books()
    moves: list[Move] = [
        earn(program, f"m{number % 3}", 1 + number, f"r{number}") for number in range(300)
    ]

    def do(number: int, move: Move) -> None:
        ledger = ledgers[number % 2]
        if number % 3 == 0:
            call = method(ledger, move).future(move, metadata=ledger.metadata, timeout=10)  # type: ignore[attr-defined]
            time.sleep(dice.random() * 0.02)
            call.cancel()
            with suppress(grpc.FutureCancelledError):
                books.note(move, call.result(timeout=10).posting)
            if number % 2:
                return
        books.note(move, send([ledger], move))

    race(moves, do)

    for member in ("m0", "m1", "m2"):
        # Whoever left may or may not have been served: what the ledger says now is the truth.
        for entry in entries_of(ledgers[0], program, member):
            if entry.kind == resources_pb2.Entry.EARNED:
                books.told[member, entry.request_id].add(entry.posting)
    postings = assert_books_balance(ledgers[0], program, moves, books)
    assert_stream_tells_all(ledgers[0], program, postings)

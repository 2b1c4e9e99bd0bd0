"""Traps that other ledgers fell into when several callers, or a broken network, meet."""

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from testkit.postgres import TestPostgres
from tests.faults.ledger_books import (
    Books,
    Move,
    account_of,
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
from tests.faults.losing_proxy import LosingProxy
from tests.properties.driver import Ledger
from tests.properties.effort import LONG, SEED
from tests.properties.ledger_process import Cluster
from tests.properties.messages import refused
from tests.properties.model_shapes import Refused

KIND = resources_pb2.Entry


def batch(program: str, *posts: tuple[str, str, int]) -> ledger_pb2.BatchPostRequest:
    """A batch of earnings: member, request id, points."""
    request = ledger_pb2.BatchPostRequest(program=program)
    for member, request_id, points in posts:
        post = request.requests.add(member=member, request_id=request_id)
        post.operations.add().earn.points = points
    return request


def test_a_request_id_twice_in_a_batch_is_one_posting(ledgers: list[Ledger]) -> None:
    """The same again is a replay; another request under that id is refused."""
    program = new_program(ledgers[0])
    request = batch(program, ("ada", "x", 5), ("ada", "x", 5), ("ada", "x", 6), ("bob", "x", 6))

    results = ledgers[0].call(ledgers[0].ledger.BatchPost, request).results

    assert [result.replayed for result in results] == [False, True, False, False]
    assert results[0].posting == results[1].posting
    assert refused(results[2].status).reason == "REQUEST_ID_REUSED"
    assert results[3].posting.member == "bob"


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
            if entry.kind == KIND.EARNED:
                books.told[member, entry.request_id].add(entry.posting)
    postings = assert_books_balance(ledgers[0], program, moves, books)
    assert_stream_tells_all(ledgers[0], program, postings)


def test_a_caller_who_leaves_while_a_batch_commits_finds_all_of_it_or_nothing_of_a_post(
    ledgers: list[Ledger],
) -> None:
    """Asked again, every post of the batch is applied, each once."""
    dice = random.Random(SEED)
    program = new_program(ledgers[0])
    for number in range(40):
        request = batch(program, *((f"m{n % 5}", f"b{number}-{n}", 1) for n in range(50)))
        stub = ledgers[number % 2].ledger.BatchPost
        call = stub.future(request, metadata=ledgers[0].metadata, timeout=10)
        time.sleep(dice.random() * 0.03)
        call.cancel()
        results = ledgers[1].call(ledgers[1].ledger.BatchPost, request).results
        assert [result.WhichOneof("result") for result in results] == ["posting"] * 50

    for number in range(5):
        history = entries_of(ledgers[0], program, f"m{number}")
        earned = [entry.request_id for entry in history if entry.kind == KIND.EARNED]
        assert len(earned) == len(set(earned)) == 400
        assert account_of(ledgers[0], program, f"m{number}").balances[0].available == 400


@pytest.fixture
def losing(postgres: TestPostgres) -> Iterator[tuple[LosingProxy, Cluster]]:
    """A ledger whose database may commit without saying so."""
    database = postgres.fresh("ledger")
    proxy = LosingProxy(postgres.server.port, SEED)
    cluster = Cluster(proxy.before(database))
    try:
        cluster.start()
        yield proxy, cluster
    finally:
        cluster.stop()
        proxy.stop()
        postgres.drop(database.name)


@pytest.mark.slow
def test_a_commit_whose_answer_is_lost_is_found_and_not_done_again(
    losing: tuple[LosingProxy, Cluster],
) -> None:
    """The network takes the answers to one commit in ten; every caller is told what happened."""
    proxy, cluster = losing
    ledger = cluster.processes[0].connect()
    ledger.register("acme")
    dice = random.Random(SEED)
    program, books = new_program(ledger), Books()
    moves = mixed_moves(dice, program, members=4, count=2000 if LONG else 300)
    first, others = moves[:4], moves[4:]
    for move in first:
        books.note(move, send([ledger], move))
    proxy.chance = 0.1

    race(others, lambda _, move: books.note(move, send([ledger], move, books=books)))

    proxy.chance = 0.0
    assert proxy.lost >= 3, "nothing was lost, so nothing was shown"
    assert set(books.refusals) <= {"INSUFFICIENT_POINTS"}
    postings = assert_books_balance(ledger, program, moves, books)
    assert_stream_tells_all(ledger, program, postings)
    print(f"{proxy.lost} lost answers, {books.retries} asked again by callers")
    ledger.close()


def test_a_command_refused_after_a_settlement_leaves_the_settlement(
    ledgers: list[Ledger],
) -> None:
    """On the server's clock: what has expired has expired, though the redemption is refused."""
    ledger = ledgers[0]
    # A busy machine may need longer than a moment for two earnings.
    for seconds in (1.5, 8.0, 30.0):
        program = f"p{uuid.uuid4().hex}"
        request = program_pb2.CreateProgramRequest(program=program)
        request.settings.program.auto_enrol = True
        request.settings.points.expiry.add(strategy="day", kind="FIXED", days=1)
        ledger.call(ledger.programs.CreateProgram, request)
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        for name, points, ahead in (("dies", 40, 0), ("lives", 60, 1)):
            earning = earn(program, "ada", points, name)
            earning.effective_time.FromDatetime(expires - timedelta(days=1, hours=-ahead))
            ledger.call(ledger.ledger.Earn, earning)
        if datetime.now(UTC) < expires:
            break
    time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 0.05)

    with pytest.raises(Refused) as caught:
        ledger.call(ledger.ledger.Redeem, redeem(program, "ada", 70, "too-much"))

    assert caught.value.metadata["available"] == "60"
    history = entries_of(ledger, program, "ada")
    assert [entry.points for entry in history if entry.kind == KIND.EXPIRED] == [-40]
    assert account_of(ledger, program, "ada").version == 2
    ledger.call(ledger.ledger.Redeem, redeem(program, "ada", 60, "too-much"))
    verify = ledger_pb2.VerifyAccountRequest(program=program, member="ada")
    assert ledger.call(ledger.ledger.VerifyAccount, verify).ok

"""Two ledgers over one database, raced and killed: sums right, nothing lost, nothing doubled."""

import time
import uuid

from tests.faults.endless_load import EndlessLoad, new_busy_program
from tests.faults.ledger_books import (
    Books,
    Move,
    assert_books_balance,
    assert_stream_tells_all,
    earn,
    new_program,
    race,
    redeem,
    send,
)
from tests.properties.driver import Ledger
from tests.properties.effort import LONG, SEED
from tests.properties.model_shapes import Refused


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


def test_a_storm_of_duplicates_applies_every_request_once(ledgers: list[Ledger]) -> None:
    """A fifth of all commands twice: beside each other at two processes, or long after."""
    program = f"p{uuid.uuid4().hex}"
    new_busy_program(ledgers[0], program)
    load = EndlessLoad(program, ledgers, SEED, twice=0.2)
    load.start()
    time.sleep(120 if LONG else 4)
    load.stop()

    postings = assert_books_balance(ledgers[0], program, load.moves, load.books)
    assert_stream_tells_all(ledgers[1], program, postings)
    assert load.again >= 20
    print(f"{len(load.moves)} requests, {load.again} of them twice, 0 doubled")

"""Two ledgers over one database, raced and killed: sums right, nothing lost, nothing doubled."""

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

"""What callers of the ledger were told, and whether its books say the same."""

import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from tests.properties.driver import Ledger, status_of
from tests.properties.messages import refused
from tests.properties.model_shapes import Refused

CALLERS = 24
PATIENCE_SECONDS = 60
# Nothing was decided yet, as far as the caller knows: the same request id is sent again.
RETRIED_CODES = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}


def new_program(ledger: Ledger) -> str:
    """A program on the server's clock that enrols whoever earns."""
    program = f"p{uuid.uuid4().hex}"
    request = program_pb2.CreateProgramRequest(program=program)
    request.settings.program.auto_enrol = True
    ledger.call(ledger.programs.CreateProgram, request)
    return program


def earn(program: str, member: str, points: int, request_id: str) -> ledger_pb2.EarnRequest:
    """An earning."""
    return ledger_pb2.EarnRequest(
        program=program, member=member, points=points, request_id=request_id
    )


def redeem(program: str, member: str, points: int, request_id: str) -> ledger_pb2.RedeemRequest:
    """A redemption."""
    return ledger_pb2.RedeemRequest(
        program=program, member=member, points=points, request_id=request_id
    )


Move = ledger_pb2.EarnRequest | ledger_pb2.RedeemRequest


def method(ledger: Ledger, move: Move) -> Callable[..., Any]:
    """The stub's method of a request."""
    if isinstance(move, ledger_pb2.EarnRequest):
        return ledger.ledger.Earn
    return ledger.ledger.Redeem


def send(
    ledgers: Sequence[Ledger], move: Move, seconds: float = 5
) -> resources_pb2.Posting | Refused:
    """Sends until there is an answer, going from process to process, always with the same id."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    attempt = 0
    while True:
        ledger = ledgers[attempt % len(ledgers)]
        attempt += 1
        try:
            answer = method(ledger, move)(move, metadata=ledger.metadata, timeout=seconds)
        except grpc.RpcError as error:
            if error.code() in RETRIED_CODES and time.monotonic() < give_up:
                time.sleep(0.02)
                continue
            status = status_of(error)
            if status is None:
                raise
            return refused(status)
        posting: resources_pb2.Posting = answer.posting
        return posting


@dataclass
class Books:
    """What callers were told: postings by request, and refusals."""

    told: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    refusals: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, move: Move, answer: resources_pb2.Posting | Refused) -> None:
        """Writes down an answer."""
        with self.lock:
            if isinstance(answer, Refused):
                self.refusals[answer.reason] += 1
            else:
                self.told[move.member, move.request_id].add(answer.posting)


def entries_of(ledger: Ledger, program: str, member: str) -> list[resources_pb2.Entry]:
    """A member's whole history, oldest first."""
    found: list[resources_pb2.Entry] = []
    token = ""
    while True:
        page = ledger.call(
            ledger.ledger.ListEntries,
            ledger_pb2.ListEntriesRequest(
                program=program, member=member, page_size=1000, page_token=token
            ),
        )
        found += page.entries
        token = page.next_page_token
        if not token:
            return found[::-1]


def assert_books_balance(
    ledger: Ledger, program: str, moves: Sequence[Move], books: Books
) -> dict[str, str]:
    """Every answer stands once in the history, and nothing else does. Answers posting → member."""
    asked = {(move.member, move.request_id): move for move in moves}
    postings: dict[str, str] = {}
    for member in sorted({move.member for move in moves}):
        history = entries_of(ledger, program, member)
        applied = [entry for entry in history if entry.kind != resources_pb2.Entry.ENROLLED]
        by_request = Counter(entry.request_id for entry in applied)
        told = {request: ids for (who, request), ids in books.told.items() if who == member}

        assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
        assert max(by_request.values()) == 1, "a request was applied twice"
        assert set(by_request) == set(told), "lost, or applied and refused"
        assert {entry.request_id: {entry.posting} for entry in applied} == told

        def signed(request: str, member: str = member) -> int:
            move = asked[member, request]
            return move.points if isinstance(move, ledger_pb2.EarnRequest) else -move.points

        account = ledger.call(
            ledger.ledger.GetAccount, ledger_pb2.GetAccountRequest(program=program, member=member)
        )
        (balance,) = account.balances
        assert balance.available == sum(signed(request) for request in by_request)
        assert account.version == len(by_request)
        assert all(entry.after.available >= 0 for entry in history)
        verified = ledger.call(
            ledger.ledger.VerifyAccount,
            ledger_pb2.VerifyAccountRequest(program=program, member=member),
        )
        assert verified.ok, verified.findings
        postings |= {entry.posting: member for entry in history}
    return postings


def assert_stream_tells_all(ledger: Ledger, program: str, postings: dict[str, str]) -> None:
    """The change stream has every posting once, and no bucket has a gap."""
    seen: dict[int, list[int]] = defaultdict(list)
    told: list[str] = []
    stream = ledger.ledger.WatchChanges(
        ledger_pb2.WatchChangesRequest(), metadata=ledger.metadata, timeout=30
    )
    for response in stream:
        for change in response.changes:
            seen[change.bucket].append(change.sequence)
            if change.program == program and change.HasField("posting"):
                told.append(change.posting.posting)
        if response.HasField("current_time"):
            break
    stream.cancel()

    assert sorted(told) == sorted(postings), "the stream lost or doubled a posting"
    for bucket, sequences in seen.items():
        assert sequences == list(range(1, len(sequences) + 1)), f"a gap in bucket {bucket}"


def race(moves: Sequence[Move], do: Callable[[int, Move], None]) -> None:
    """Does all moves with many callers at once, numbered in order."""
    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(do, number, move) for number, move in enumerate(moves)]:
            done.result(timeout=PATIENCE_SECONDS * 2)


def mixed_moves(dice: random.Random, program: str, members: int, count: int) -> list[Move]:
    """Earnings and redemptions of few members; a fifth of all requests stands in it twice."""
    moves: list[Move] = [earn(program, f"m{number}", 100, "first") for number in range(members)]
    for number in range(count):
        member = f"m{dice.randrange(members)}"
        make = earn if dice.random() < 0.4 else redeem
        moves.append(make(program, member, dice.randrange(1, 40), f"r{number}"))
    return moves + dice.sample(moves, len(moves) // 5)

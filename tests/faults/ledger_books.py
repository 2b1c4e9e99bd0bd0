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

KIND = resources_pb2.Entry
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


Move = (
    ledger_pb2.EarnRequest
    | ledger_pb2.RedeemRequest
    | ledger_pb2.CreateHoldRequest
    | ledger_pb2.CaptureHoldRequest
    | ledger_pb2.ReleaseHoldRequest
    | ledger_pb2.ReversePostingRequest
    | ledger_pb2.TransferPointsRequest
)


def method(ledger: Ledger, move: Move) -> Callable[..., Any]:
    """The stub's method of a request."""
    found: Callable[..., Any] = getattr(ledger.ledger, type(move).__name__.removesuffix("Request"))
    return found


def send(
    ledgers: Sequence[Ledger], move: Move, seconds: float = 5, books: "Books | None" = None
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
                if books is not None:
                    books.retries += 1
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
    retries: int = 0
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
    asked: dict[str, dict[str, Move]] = defaultdict(dict)
    for move in moves:
        asked[move.member][move.request_id] = move
    postings: dict[str, str] = {}
    given = received = 0
    for member in sorted(asked):
        history = entries_of(ledger, program, member)
        by_request: dict[str, set[str]] = defaultdict(set)
        for entry in history:
            by_request[entry.request_id].add(entry.posting)
        unasked = by_request.pop("", set())
        by_request.pop("enrol", None)
        told = {request: ids for (who, request), ids in books.told.items() if who == member}

        assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
        assert max(map(len, by_request.values())) == 1, "a request was applied twice"
        assert set(by_request) <= set(asked[member]), "nobody asked for it"
        lost, extra = set(told) - set(by_request), set(by_request) - set(told)
        assert (lost, extra) == (set(), set()), "lost, or applied and refused"
        assert by_request == told
        for request in by_request:
            own = [entry for entry in history if entry.request_id == request]
            assert_does_what_was_asked(asked[member][request], own)
        assert_numbers_follow(ledger, program, member, history)
        came = {entry.posting for entry in history if entry.kind == KIND.TRANSFERRED_IN}
        assert came <= unasked
        account = account_of(ledger, program, member)
        enrolled_alone = len(history[0].request_id) > 0 and history[0].request_id == "enrol"
        assert account.version == len(by_request) + len(came) + enrolled_alone
        given += sum(entry.points for entry in history if entry.kind == KIND.TRANSFERRED_OUT)
        received += sum(entry.points for entry in history if entry.kind == KIND.TRANSFERRED_IN)
        postings |= {entry.posting: member for entry in history}
    assert given + received == 0, "points of a transfer appeared or vanished"
    return postings


def assert_does_what_was_asked(move: Move, entries: Sequence[resources_pb2.Entry]) -> None:
    """The entries of a posting against its request."""
    if isinstance(move, ledger_pb2.CaptureHoldRequest | ledger_pb2.ReversePostingRequest):
        # How much depends on what it refers to, which VerifyAccount looks at.
        return
    if isinstance(move, ledger_pb2.ReleaseHoldRequest):
        assert sum(entry.kind == KIND.RELEASED for entry in entries) == 1
        return
    kind, sign = {
        "EarnRequest": (KIND.EARNED, 1),
        "RedeemRequest": (KIND.REDEEMED, -1),
        "CreateHoldRequest": (KIND.HELD, 0),
        "TransferPointsRequest": (KIND.TRANSFERRED_OUT, -1),
    }[type(move).__name__]
    (entry,) = [entry for entry in entries if entry.kind == kind]
    assert entry.points == sign * move.points
    assert entry.requested == move.points


def account_of(ledger: Ledger, program: str, member: str) -> resources_pb2.Account:
    """What a member has."""
    request = ledger_pb2.GetAccountRequest(program=program, member=member)
    account: resources_pb2.Account = ledger.call(ledger.ledger.GetAccount, request)
    return account


def assert_numbers_follow(
    ledger: Ledger, program: str, member: str, history: Sequence[resources_pb2.Entry]
) -> None:
    """Each entry's numbers follow from the one before, the account's from the last; none is < 0."""
    before = (0, 0, 0, 0)
    for entry in history:
        if not entry.currency:
            continue
        change, after = _four(entry.change), _four(entry.after)
        assert after == tuple(map(sum, zip(before, change, strict=True))), entry
        assert entry.points == change[0] + change[1] + change[2] - change[3], entry
        assert min(after) >= 0, entry
        before = after
    (balance,) = account_of(ledger, program, member).balances
    assert (balance.available, balance.pending, balance.held, balance.debt) == before
    assert not (balance.available and balance.debt)
    request = ledger_pb2.VerifyAccountRequest(program=program, member=member)
    verified = ledger.call(ledger.ledger.VerifyAccount, request)
    assert verified.ok, verified.findings


def _four(amounts: resources_pb2.Amounts) -> tuple[int, int, int, int]:
    return amounts.available, amounts.pending, amounts.held, amounts.debt


def assert_stream_tells_all(ledger: Ledger, program: str, postings: dict[str, str]) -> None:
    """The change stream has every posting once, and no bucket has a gap."""
    seen: dict[int, list[int]] = defaultdict(list)
    told: list[str] = []
    stream = ledger.ledger.WatchChanges(
        ledger_pb2.WatchChangesRequest(), metadata=ledger.metadata, timeout=60 + len(postings) / 100
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


def race(moves: Sequence[Move], do: Callable[[int, Move], None], callers: int = CALLERS) -> None:
    """Does all moves with many callers at once, numbered in order."""
    with ThreadPoolExecutor(callers) as pool:
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

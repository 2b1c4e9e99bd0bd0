"""Callers who go on whatever is killed under them, and what they were told."""

import random
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.faults.ledger_books import Books, Move, earn, redeem, send
from tests.properties.driver import Ledger
from tests.properties.model_shapes import Refused

MEMBERS = tuple(f"m{number}" for number in range(8))
# What may be refused in a program like this one; anything else is a failure.
EXPECTED = {
    "INSUFFICIENT_POINTS",
    "HOLD_CLOSED",
    "REVERSAL_EXCEEDS",
    "IN_DEBT",
}
KINDS = {
    "earn": 30,
    "redeem": 15,
    "hold": 15,
    "capture": 8,
    "release": 7,
    "reverse": 12,
    "transfer": 13,
}


def new_busy_program(ledger: Ledger, program: str) -> None:
    """A program on the server's clock in which everything is allowed, and its members."""
    request = program_pb2.CreateProgramRequest(program=program)
    settings = request.settings
    settings.redemption.reversal = True
    settings.transfer.enabled = True
    settings.returns.policy = program_pb2.ReturnsSettings.ALLOW_DEBT
    ledger.call(ledger.programs.CreateProgram, request)
    for member in MEMBERS:
        enrolment = account_pb2.EnrolMemberRequest(
            program=program, member=member, request_id="enrol"
        )
        ledger.call(ledger.accounts.EnrolMember, enrolment)


class EndlessLoad:
    """So many callers, each with dice of its own, until `stop`.

    Of all requests `twice` are sent again: at the same time by another process, or later, when
    others have followed.
    """

    def __init__(
        self,
        program: str,
        ledgers: Sequence[Ledger],
        seed: int,
        callers: int = 8,
        twice: float = 0.0,
    ) -> None:
        self.program, self.ledgers, self.twice = program, ledgers, twice
        self.again = 0
        self.books = Books()
        self.moves: list[Move] = []
        self.failures: list[BaseException] = []
        self._holds: dict[str, list[str]] = defaultdict(list)
        self._reversible: dict[str, list[str]] = defaultdict(list)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._twins: list[threading.Thread] = []
        self._threads = [
            threading.Thread(target=self._call, args=(number, random.Random(seed + number)))
            for number in range(callers)
        ]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets everybody finish what was begun; fails where a caller failed."""
        self._stopped.set()
        for thread in (*self._threads, *self._twins):
            thread.join(timeout=90)
            assert not thread.is_alive(), "a caller was never answered"
        if self.failures:
            raise self.failures[0]
        assert set(self.books.refusals) <= EXPECTED, self.books.refusals

    def _call(self, caller: int, dice: random.Random) -> None:
        try:
            number = 0
            while not self._stopped.is_set():
                number += 1
                move = self._move(dice, f"c{caller}-{number}")
                self.moves.append(move)
                order = list(self.ledgers)
                dice.shuffle(order)
                if dice.random() < self.twice:
                    self._send_again(dice, move)
                answer = send(order, move, books=self.books)
                self.books.note(move, answer)
                self._remember(move, answer)
        except BaseException as failure:  # noqa: BLE001 - told by `stop`, in the main thread
            self.failures.append(failure)

    def _send_again(self, dice: random.Random, move: Move) -> None:
        """Sends a request beside its caller, or one that was answered long ago."""
        late = dice.random() < 0.5 and len(self.moves) > 50
        again = dice.choice(self.moves[:-10]) if late else move
        twin = threading.Thread(target=self._twin, args=(dice.choice(self.ledgers), again))
        with self._lock:
            self.again += 1
            self._twins.append(twin)
        twin.start()

    def _twin(self, ledger: Ledger, move: Move) -> None:
        try:
            self.books.note(move, send([ledger], move, books=self.books))
        except BaseException as failure:  # noqa: BLE001 - as above
            self.failures.append(failure)

    def _move(self, dice: random.Random, request_id: str) -> Move:
        member = dice.choice(MEMBERS)
        (kind,) = dice.choices(list(KINDS), list(KINDS.values()))
        points = dice.randrange(1, 40)
        common: dict[str, Any] = {"program": self.program, "member": member}
        common["request_id"] = request_id
        if kind == "hold":
            return ledger_pb2.CreateHoldRequest(**common, points=points)
        if kind in {"capture", "release"} and self._holds[member]:
            hold = dice.choice(self._holds[member])
            if kind == "release":
                return ledger_pb2.ReleaseHoldRequest(**common, hold=hold)
            return ledger_pb2.CaptureHoldRequest(**common, hold=hold)
        if kind == "reverse" and self._reversible[member]:
            posting = dice.choice(self._reversible[member][-20:])
            part = dice.choice((0, 0, 1, 5))
            return ledger_pb2.ReversePostingRequest(**common, posting=posting, points=part)
        if kind == "transfer":
            recipient = dice.choice([other for other in MEMBERS if other != member])
            return ledger_pb2.TransferPointsRequest(**common, recipient=recipient, points=points)
        if kind == "redeem":
            return redeem(self.program, member, points, request_id)
        return earn(self.program, member, points, request_id)

    def _remember(self, move: Move, answer: resources_pb2.Posting | Refused) -> None:
        if isinstance(answer, Refused):
            return
        if isinstance(move, ledger_pb2.CreateHoldRequest):
            self._holds[move.member].append(answer.posting)
        if isinstance(
            move,
            ledger_pb2.EarnRequest | ledger_pb2.RedeemRequest | ledger_pb2.CaptureHoldRequest,
        ):
            self._reversible[move.member].append(answer.posting)

"""Statements of many members, asked for side by side and written in order."""

import random
import threading
import time
from typing import Any

import grpc
import pytest

from loyalty.calls import LoyaltyRefusal
from loyalty.command.exports import AT_ONCE, _statements
from loyalty.ledger.v1.ledger_pb2 import GetStatementRequest, GetStatementResponse

GONE, TWO_PAGES = "m17", "m40"
MEMBERS = [f"m{number}" for number in range(100)]


class _Ledger:
    """Answers late and out of order; counts who is asked at the same time."""

    def __init__(self) -> None:
        self.most = self.now = 0
        self._lock = threading.Lock()

    def stub(self, _: Any) -> "_Ledger":
        return self

    def GetStatement(self, request: GetStatementRequest) -> GetStatementResponse:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(random.random() / 500)
        with self._lock:
            self.now -= 1
        if request.member == GONE:
            raise LoyaltyRefusal("MEMBER_NOT_FOUND", {}, grpc.StatusCode.NOT_FOUND)
        answer = GetStatementResponse()
        answer.lines.add(reference=f"{request.member}{request.page_token}")
        if request.member == TWO_PAGES and not request.page_token:
            answer.next_page_token = "+"
        return answer


def _written(asked_for: bool) -> tuple[_Ledger, list[tuple[str, str]]]:
    ledger: Any = _Ledger()
    found = [
        (member, line.reference)
        for member, lines in _statements(
            ledger, GetStatementRequest(program="p"), MEMBERS, asked_for=asked_for
        )
        for line in lines
    ]
    return ledger, found


def test_lines_are_written_in_the_order_of_the_members_whoever_answers_first() -> None:
    ledger, written = _written(asked_for=False)

    expected = [(member, member) for member in MEMBERS if member != GONE]
    expected.insert(expected.index((TWO_PAGES, TWO_PAGES)) + 1, (TWO_PAGES, TWO_PAGES + "+"))
    assert written == expected
    # The writer itself asks for later pages.
    assert 1 < ledger.most <= AT_ONCE + 1


def test_a_member_who_was_asked_for_and_is_none_ends_the_export() -> None:
    with pytest.raises(LoyaltyRefusal, match="MEMBER_NOT_FOUND"):
        _written(asked_for=True)

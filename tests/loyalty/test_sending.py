"""Rows are sent until each has an answer that stands; each answer is counted once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from google.rpc import status_pb2

from loyalty.calls import LoyaltyRefusal
from loyalty.command import member_import
from loyalty.command.event_sending import EventTotals
from loyalty.command.importing import totals_so_far
from loyalty.command.member_import import MemberTotals
from loyalty.command.member_rows import MemberFile
from loyalty.command.progress_file import ProgressFile
from loyalty.command.sending import Patience, side_by_side, until_answered
from loyalty.ledger.v1.account_pb2 import ImportMembersResponse, ImportMembersResult
from loyalty.ledger.v1.resources_pb2 import Entry, Posting
from tests.loyalty.import_kit import status

LATER = LoyaltyRefusal("OVERLOADED", {}, grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_only_rows_whose_answer_does_not_stand_are_sent_again() -> None:
    asked: list[list[int]] = []
    counted: list[int] = []

    async def ask(rows: Sequence[int]) -> list[bool]:
        asked.append(list(rows))
        return [row % 2 == 0 or len(asked) == 2 for row in rows]

    def count(row: int, stands: bool) -> LoyaltyRefusal | None:
        if stands:
            counted.append(row)
        return None if stands else LATER

    said: list[str] = []
    await until_answered([1, 2, 3, 4], ask, count, Patience(10, said.append))

    assert asked == [[1, 2, 3, 4], [1, 3]]
    assert counted == [2, 4, 1, 3]
    assert said[0].startswith("OVERLOADED; trying again")


async def test_rows_that_were_not_all_answered_are_an_error() -> None:
    async def ask(rows: Sequence[int]) -> list[int]:
        return [1]

    with pytest.raises(ValueError, match="2 rows were answered by 1 results"):
        await until_answered([1, 2], ask, lambda row, result: None, Patience(0, print))


async def test_of_what_is_done_side_by_side_the_first_error_is_raised_and_the_rest_ends() -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def fail() -> None:
        raise LATER

    with pytest.raises(LoyaltyRefusal, match="OVERLOADED"):
        await side_by_side([wait(), fail()])
    assert ended.is_set()


class Members:
    """Answers rows by their numbers."""

    def __init__(self, answers: dict[int, ImportMembersResult]) -> None:
        self.answers = answers

    async def ImportMembers(self, request: Any, timeout: float) -> Any:  # noqa: ASYNC109 - gRPC's own
        results = [self.answers[row.number] for row in request.rows]
        return ImportMembersResponse(results=results)


async def test_a_row_is_taken_in_only_where_a_posting_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal that names no reason of the suite's, as a proxy makes one, is a refusal."""
    path = tmp_path / "members.csv"
    path.write_text("member\na\nb\nc\nd\n")
    answers = {
        1: ImportMembersResult(posting=Posting(entries=[Entry(kind=Entry.ENROLLED)])),
        2: ImportMembersResult(status=status_pb2.Status(code=7, message="who are you?")),
        3: ImportMembersResult(status=status(grpc.StatusCode.ALREADY_EXISTS, "IDENTIFIER_EXISTS")),
        4: ImportMembersResult(),
    }
    totals = MemberTotals()
    wanted = member_import.Wanted(path, "p", "old", {}, 10, 1, 0, False, False, False)
    file = MemberFile(path, ZoneInfo("UTC"), {})
    run = member_import._Run(Members(answers), wanted, file, totals)
    await run.send(Patience(0, print), lambda day: None)

    assert (totals.rows, totals.enrolled, totals.replayed) == (4, 1, 0)
    assert totals.refused == {"PERMISSION_DENIED": 1, "IDENTIFIER_EXISTS": 1, "OK": 1}
    assert "row 2: PERMISSION_DENIED: who are you?" in capsys.readouterr().err


def test_totals_are_kept_and_read_again_and_what_is_kept_of_something_else_is_not(
    tmp_path: Path,
) -> None:
    totals = EventTotals(7, 2, Counter(MEMBER_FROZEN=1), 4, Counter(points=9), Counter())
    kept = ProgressFile.of(tmp_path, "a file")
    kept.keep(totals, print)

    assert totals_so_far(kept, EventTotals, 7, fresh=False) == totals
    assert totals_so_far(kept, EventTotals, 7, fresh=True) == EventTotals()
    assert totals_so_far(kept, EventTotals, 6, fresh=False) == EventTotals()
    assert totals_so_far(kept, MemberTotals, 7, fresh=False) == MemberTotals()
    for text in ("", "[]", '{"rows": 3}', kept.path.read_text().replace('"rows": 7', '"rows": -1')):
        kept.path.write_text(text)
        assert totals_so_far(kept, EventTotals, 7, fresh=False) == EventTotals()
    kept.forget()
    assert list(tmp_path.rglob("*.*")) == []


def test_progress_that_cannot_be_kept_is_said_and_harmless(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "file").touch()
    kept = ProgressFile.of(tmp_path / "file", "a file")
    kept.keep(EventTotals(), said.append)
    kept.forget()

    assert len(said) == 1
    assert said[0].startswith("the progress cannot be kept in ")

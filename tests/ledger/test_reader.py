"""Reads that share a statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.ledger.operations.reader import READERS, Finder, Reader
from services.ledger.store import accounts, directory
from services.ledger.store.accounts import Key
from services.ledger.store.directory import Found, Name


class _Pool:
    @asynccontextmanager
    async def acquire(self, **_: float) -> AsyncIterator[None]:
        yield


def _reader(monkeypatch: pytest.MonkeyPatch, statements: list[list[Key]], fault: Any) -> Reader:
    async def read_whole(connection: None, keys: list[Key]) -> dict[Key, Key]:
        statements.append(list(keys))
        await asyncio.sleep(0.01)
        if fault is not None and len(statements) == 1:
            raise fault
        return {key: key for key in keys}

    monkeypatch.setattr(accounts, "read_whole", read_whole)
    return Reader(_Pool())  # type: ignore[arg-type]


async def test_reads_that_come_together_share_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[list[Key]] = []
    reader = _reader(monkeypatch, statements, None)

    answers: list[Any] = await asyncio.gather(
        *(reader.read([(0, number % 7)]) for number in range(100))
    )

    assert [answer[0, number % 7] for number, answer in enumerate(answers)] == [
        (0, number % 7) for number in range(100)
    ]
    assert len(statements) <= READERS


async def test_a_fault_is_told_to_those_who_shared_it_and_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statements: list[list[Key]] = []
    reader = _reader(monkeypatch, statements, OSError("lost"))

    first = await asyncio.gather(*(reader.read([(0, n)]) for n in range(3)), return_exceptions=True)
    second: Any = await reader.read([(0, 1)])

    assert [type(each) for each in first] == [OSError] * 3
    assert second == {(0, 1): (0, 1)}


async def test_a_caller_that_went_away_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[list[Key]] = []
    reader = _reader(monkeypatch, statements, None)
    gone = asyncio.create_task(reader.read([(0, 1)]))
    await asyncio.sleep(0)
    gone.cancel()

    answer: Any = await reader.read([(0, 2)])

    assert answer == {(0, 2): (0, 2)}
    assert gone.cancelled()


async def test_who_asks_again_at_once_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.operations.reader.READERS", 1)
    reader = _reader(monkeypatch, [], None)

    async with asyncio.timeout(5):
        for number in range(20):
            answer: Any = await reader.read([(0, number)])

            assert answer == {(0, number): (0, number)}


async def test_members_looked_up_together_share_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[list[Name]] = []

    async def find(connection: None, names: list[Name]) -> Found:
        statements.append(list(names))
        await asyncio.sleep(0.01)
        return Found({name: (0, int(name.member)) for name in names}, {}, {})

    monkeypatch.setattr(directory, "find", find)
    finder = Finder(_Pool())  # type: ignore[arg-type]
    names = [Name(0, "acme", str(number), 1) for number in range(100)]

    answers = await asyncio.gather(*(finder.read([name]) for name in names))

    assert [answer.keys[name][1] for answer, name in zip(answers, names, strict=True)] == list(
        range(100)
    )
    assert len(statements) <= READERS

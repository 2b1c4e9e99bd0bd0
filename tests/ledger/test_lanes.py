"""A lane works on, whatever happens to its connection."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.ledger.operations import lanes
from services.ledger.operations.environment import Environment
from services.ledger.operations.lanes import Lanes
from services.ledger.operations.outcomes import Item, Outcome, Settled


class _Session:
    """Ends the transaction at rest badly, the first time."""

    rests = 0

    def __init__(self, pool: object) -> None:
        """Needs no pool."""

    async def begin(self) -> None: ...

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...

    async def close(self) -> None: ...

    async def rest(self) -> None:
        self.rests += 1
        if self.rests == 1:
            raise RuntimeError("nobody expected this")


class _Transaction:
    def __init__(self, environment: object, connection: object, items: Sequence[Item]) -> None:
        self._items = items

    async def run(self) -> list[Outcome]:
        return [Settled(1) for _ in self._items]

    def remember(self) -> None: ...


async def test_a_lane_that_breaks_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "Session", _Session)
    monkeypatch.setattr(lanes, "Transaction", _Transaction)
    monkeypatch.setattr(lanes, "REST_S", 0.01)
    nothing: Any = None
    working = Lanes(Environment(nothing, 64), nothing, 1)
    working.start()
    await asyncio.sleep(0.1)

    async with asyncio.timeout(5.0):
        assert await working.submit([Item(key=(0, 1))]) == [Settled(1)]
        await working.stop()

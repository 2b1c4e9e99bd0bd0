"""Reads that arrive while a statement runs share the next one."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool
from services.ledger.operations.gathering import Arrivals, Crowd, gathered
from services.ledger.store import accounts as account_rows
from services.ledger.store import directory
from services.ledger.store.accounts import Key, Loaded
from services.ledger.store.directory import Found, Name

READERS = 2
KEYS_MAX = 500


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


_Asked = TypeVar("_Asked", bound=_Ordered)
_Answer = TypeVar("_Answer")


class _SharedReads(Generic[_Asked, _Answer]):
    """One kind of read for all calls of the process; what is answered is not to be changed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queue: deque[tuple[Sequence[_Asked], asyncio.Future[_Answer]]] = deque()
        self._arrivals = Arrivals()
        self._crowd = Crowd()
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def _load(self, connection: Connection, asked: Sequence[_Asked]) -> _Answer:
        """Read what was asked for, each once and in order."""

    async def read(self, keys: Sequence[_Asked]) -> _Answer:
        """What is as of one instant after the call; more than was asked for may be in it."""
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((keys, future))
        self._arrivals.count += 1
        self._arrivals.under_way += 1
        if len(self._tasks) < READERS:
            self._tasks.add(asyncio.create_task(self._run()))
        try:
            return await future
        finally:
            self._arrivals.under_way -= 1

    async def _run(self) -> None:
        try:
            while self._queue:
                waiting = self._queue.__len__
                await gathered(waiting, KEYS_MAX, waiting, self._crowd, self._arrivals)
                batch = self._take()
                self._crowd.served(len(batch))
                await self._answer(batch)
        finally:
            # Not by a callback, which runs later: whoever asks in between must find no reader here.
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)

    async def _answer(
        self, batch: Sequence[tuple[Sequence[_Asked], asyncio.Future[_Answer]]]
    ) -> None:
        if not batch:
            return
        try:
            wanted = {key for keys, _ in batch for key in keys}
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                loaded = await self._load(connection, sorted(wanted))
        except Exception as fault:  # noqa: BLE001 - each caller is told
            for _, future in batch:
                if not future.done():
                    future.set_exception(fault)
            return
        for _, future in batch:
            if not future.done():
                future.set_result(loaded)

    def _take(self) -> list[tuple[Sequence[_Asked], asyncio.Future[_Answer]]]:
        batch: list[tuple[Sequence[_Asked], asyncio.Future[_Answer]]] = []
        keys = 0
        while self._queue and keys < KEYS_MAX:
            waiting = self._queue.popleft()
            if not waiting[1].done():
                batch.append(waiting)
                keys += len(waiting[0])
        return batch


class Reader(_SharedReads[Key, dict[Key, Loaded]]):
    """Reads accounts' rows with their balances."""

    async def _load(self, connection: Connection, asked: Sequence[Key]) -> dict[Key, Loaded]:
        return await account_rows.read_whole(connection, asked)


class Finder(_SharedReads[Name, Found]):
    """Looks up where members' accounts are."""

    async def _load(self, connection: Connection, asked: Sequence[Name]) -> Found:
        return await directory.find(connection, asked)

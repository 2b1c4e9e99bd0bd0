"""Reads of accounts that arrive while a statement runs share the next one."""

import asyncio
from collections import deque
from collections.abc import Sequence

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.operations.gathering import Arrivals, gathered
from services.ledger.store import accounts as account_rows
from services.ledger.store.accounts import Key, Loaded
from services.ledger.store.programs import Pool

READERS = 2
KEYS_MAX = 500

_Waiting = tuple[Sequence[Key], "asyncio.Future[dict[Key, Loaded]]"]


class Reader:
    """Reads accounts' rows with their balances; what it answers is shared and not to be changed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queue: deque[_Waiting] = deque()
        self._arrivals = Arrivals()
        self._crowd = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, keys: Sequence[Key]) -> dict[Key, Loaded]:
        """Accounts as of one instant after the call; more than those asked for may be in it."""
        future: asyncio.Future[dict[Key, Loaded]] = asyncio.get_running_loop().create_future()
        self._queue.append((keys, future))
        self._arrivals.count += 1
        if len(self._tasks) < READERS:
            self._tasks.add(asyncio.create_task(self._run()))
        return await future

    async def _run(self) -> None:
        try:
            while self._queue:
                waiting = self._queue.__len__
                await gathered(waiting, KEYS_MAX, waiting, self._crowd, self._arrivals)
                batch = self._take()
                self._crowd = len(batch)
                await self._answer(batch)
        finally:
            # Not by a callback, which runs later: whoever asks in between must find no reader here.
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        try:
            wanted = {key for keys, _ in batch for key in keys}
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                loaded = await account_rows.read_whole(connection, sorted(wanted))
        except Exception as fault:  # noqa: BLE001 - each caller is told
            for _, future in batch:
                if not future.done():
                    future.set_exception(fault)
            return
        for _, future in batch:
            if not future.done():
                future.set_result(loaded)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        keys = 0
        while self._queue and keys < KEYS_MAX:
            waiting = self._queue.popleft()
            if not waiting[1].done():
                batch.append(waiting)
                keys += len(waiting[0])
        return batch

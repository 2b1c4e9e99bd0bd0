"""The events of one member are worked on one after the other within a process."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

Name = tuple[str, str, str]
"""Organization, program, member."""


class MemberLocks:
    """One lock a member that somebody works on; those of nobody take no memory.

    How many there are is bounded by the calls that a server takes on at once.
    """

    def __init__(self) -> None:
        self._locks: dict[Name, asyncio.Lock] = {}
        self._users: dict[Name, int] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def hold(self, names: Iterable[Name]) -> AsyncIterator[None]:
        """Hold the locks of members.

        Everybody takes them in one order, so that nobody waits in a ring.
        """
        wanted = sorted(set(names))
        for name in wanted:
            self._users[name] = self._users.get(name, 0) + 1
            if name not in self._locks:
                self._locks[name] = asyncio.Lock()
        held = 0
        try:
            for name in wanted:
                await self._locks[name].acquire()
                held += 1
            yield
        finally:
            for name in wanted[:held]:
                self._locks[name].release()
            for name in wanted:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name], self._locks[name]

"""What the use cases of postings and accounts work with."""

import asyncio
from dataclasses import dataclass, field
from functools import cached_property

from services.ledger.operations.environment import Environment
from services.ledger.operations.lanes import Lanes
from services.ledger.operations.reader import Reader
from services.ledger.store.directory import Name
from services.ledger.store.programs import Pool


class Bell:
    """Rings when this process committed something, so that its streams need not poll for it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Until the bell rings, or so many seconds."""
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


@dataclass(frozen=True)
class LedgerContext:
    """The process's parts that these use cases need."""

    environment: Environment
    lanes: Lanes
    reads: Pool
    bell: Bell = field(default_factory=Bell)

    @cached_property
    def reader(self) -> Reader:
        """Reads accounts for all calls of the process."""
        return Reader(self.reads)

    async def name(self, organization: str, program: str, member: str) -> Name:
        """The member's name in the directory, or PROGRAM_NOT_FOUND."""
        identity = await self.environment.cache.identity(organization, program)
        return self.environment.name(organization, member, identity.key)

"""What the use cases of postings and accounts work with."""

import asyncio
from dataclasses import dataclass, field
from functools import cached_property

from chassis.bell import Bell
from chassis.database import Pool
from services.ledger.operations.environment import Environment
from services.ledger.operations.lanes import Lanes
from services.ledger.operations.reader import Finder, Reader
from services.ledger.store.directory import Name

REPORTS_AT_ONCE = 1


@dataclass(frozen=True)
class LedgerContext:
    """The process's parts that these use cases need."""

    environment: Environment
    lanes: Lanes
    reads: Pool
    bell: Bell = field(default_factory=Bell)
    # Reports borrow from the readers for long, so that they take turns.
    reports: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REPORTS_AT_ONCE))

    @cached_property
    def reader(self) -> Reader:
        """Reads accounts for all calls of the process."""
        return Reader(self.reads)

    @cached_property
    def finder(self) -> Finder:
        """Looks up members for all calls of the process."""
        return Finder(self.reads)

    async def name(self, organization: str, program: str, member: str) -> Name:
        """The member's name in the directory, or PROGRAM_NOT_FOUND."""
        identity = await self.environment.cache.identity(organization, program)
        return self.environment.name(organization, member, identity.key)

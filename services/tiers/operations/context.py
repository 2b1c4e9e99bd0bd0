"""What the use cases of the tiers work with."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chassis.credentials import OwnCredentials
from kernel.ids import bucket_of
from services.tiers.peers.ledger import Ledger
from services.tiers.store.connections import Pool
from services.tiers.store.ladders import Ladders


def server_time() -> datetime:
    """The server's clock."""
    return datetime.now(UTC)


class Bell:
    """Rings when this process committed something: its streams need not wait for their poll."""

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


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf: the organization that owns what is touched, and who is recorded."""

    organization: str
    actor: str


@dataclass(frozen=True)
class TiersContext:
    """The process's parts that these use cases need. `clock` answers the server's now in UTC."""

    writes: Pool
    reads: Pool
    ledger: Ledger
    credentials: OwnCredentials
    buckets: int
    clock: Callable[[], datetime] = server_time
    jitter: Callable[[], float] = random.SystemRandom().random
    ladders: Ladders = field(default_factory=Ladders)
    bell: Bell = field(default_factory=Bell)

    def bucket(self, organization: str, member: str) -> int:
        """The part of the stream to which a member, or a program, belongs."""
        return bucket_of(organization, member, self.buckets)

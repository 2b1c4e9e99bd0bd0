"""What the use cases of the tiers work with."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chassis.bell import Bell
from chassis.credentials import OwnCredentials
from chassis.database import Pool
from kernel.ids import bucket_of
from services.tiers.peers.ledger import Ledger
from services.tiers.store.ladders import Ladders


def server_time() -> datetime:
    """The server's clock."""
    return datetime.now(UTC)


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

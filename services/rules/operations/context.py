"""What the use cases of rules work with."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from chassis.call import remaining_seconds
from chassis.channels import Metadata
from chassis.database import Connection, Pool
from kernel.ids import surrogate
from services.rules.operations.locks import MemberLocks
from services.rules.operations.programs import Programs
from services.rules.peers.credentials import Credentials
from services.rules.peers.ledger import Ledger
from services.rules.peers.tiers import Tiers
from services.rules.store.connections import transact
from services.rules.store.rulesets import RulesetCache, insert_program

PEER_SECONDS_MAX = 5.0
_UNSURE_MAX = 100_000
_NUMBER_SPREAD = 1 << 20


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf: the organization that owns what is touched, and who is recorded.

    `posting` is the credential that postings are made with.
    """

    organization: str
    actor: str
    posting: Metadata


@dataclass
class RulesContext:
    """The process's parts.

    `clock` answers the server's now in UTC, `random` a number below its argument.
    """

    writes: Pool
    reads: Pool
    rulesets: RulesetCache
    programs: Programs
    ledger: Ledger
    tiers: Tiers
    credentials: Credentials
    clock: Callable[[], datetime]
    random: Callable[[int], int]
    redrive_after_seconds: float
    tiers_seconds: float
    locks: MemberLocks = field(default_factory=MemberLocks)
    # Members whose last evaluation was not answered: what tiers have of them may be old.
    unsure: "OrderedDict[tuple[str, str, str], None]" = field(default_factory=OrderedDict)

    async def program_key(self, organization: str, program: str) -> int:
        """The key of a program that exists in the ledger; known from now on."""
        key = await self.rulesets.key(organization, program)
        if key is not None:
            return key
        proposed = surrogate(self.clock(), self.random(1 << 21))

        async def insert(connection: Connection) -> int:
            return await insert_program(connection, proposed, organization, program)

        return await transact(self.writes, insert)

    def first_number(self, now: datetime) -> int:
        """Where the numbers of the events of one request begin: they grow with the time."""
        return surrogate(now, self.random(_NUMBER_SPREAD))

    def doubt(self, name: tuple[str, str, str]) -> None:
        """Remember that a member was posted to and not evaluated."""
        self.unsure[name] = None
        if len(self.unsure) > _UNSURE_MAX:
            self.unsure.popitem(last=False)


def peer_seconds() -> float:
    """How long a call to another service may take: what the caller still waits, at most 5 s."""
    return min(PEER_SECONDS_MAX, remaining_seconds())

"""What the use cases of the audience service work with."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.bell import Bell
from chassis.database import Connection, Pools
from services.audience.domain.audience import Audience
from services.audience.peers.ledger import NAME as LEDGER
from services.audience.peers.ledger import Ledger
from services.audience.peers.tiers import NAME as TIERS
from services.audience.peers.tiers import Tiers
from services.audience.store import audiences
from services.audience.store.programs import ProgramRow

_CATALOGUES_MAX = 1_000
_PROGRAMS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf: the organization that owns what is touched."""

    organization: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """Every change recorded before `current_time` is in an answer; `lag` is its age."""

    current_time: datetime
    lag: timedelta


class Progress:
    """How far one followed stream is in this process: until when, how many changes, and a bell."""

    def __init__(self) -> None:
        self.reached: datetime | None = None
        self.applied = 0
        self._bell = Bell()

    def reach(self, instant: datetime | None) -> None:
        """Everything recorded before `instant` is applied."""
        if instant is not None and (self.reached is None or instant > self.reached):
            self.reached = instant

    def count(self, changes: int) -> None:
        """So many more changes are applied and committed; whoever waits wakes."""
        self.applied += changes
        self._bell.ring()

    async def wait(self, seconds: float) -> None:
        """Until something more is applied, or so many seconds."""
        await self._bell.wait(seconds)


class Catalogue:
    """Audiences by program, remembered for as long as the program's version is the same."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[int, tuple[Audience, ...]]] = OrderedDict()

    async def audiences(self, connection: Connection, program: ProgramRow) -> tuple[Audience, ...]:
        """A program's audiences by id, at least as new as the row of the program."""
        known = self._known.get(program.key)
        if known is not None and known[0] == program.version:
            return known[1]
        loaded = await audiences.load(connection, program.key)
        self._known[program.key] = program.version, loaded
        self._known.move_to_end(program.key)
        if len(self._known) > _CATALOGUES_MAX:
            self._known.popitem(last=False)
        return loaded


class KnownPrograms:
    """Which programs exist, as the ledger said: a program never goes away again."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, organization: str, program: str) -> None:
        """Remember a program."""
        self._known[organization, program] = None
        if len(self._known) > _PROGRAMS_MAX:
            self._known.popitem(last=False)

    def __contains__(self, name: object) -> bool:
        return name in self._known


@dataclass(frozen=True)
class AudienceContext:
    """The process's parts that these use cases need. `clock` answers the server's now in UTC."""

    pools: Pools
    ledger: Ledger
    tiers: Tiers
    clock: Callable[[], datetime]
    catalogue: Catalogue = field(default_factory=Catalogue)
    programs: KnownPrograms = field(default_factory=KnownPrograms)
    progress: Mapping[str, Progress] = field(
        default_factory=lambda: {LEDGER: Progress(), TIERS: Progress()}
    )

    def freshness(self) -> Freshness | None:
        """How current an answer is that is read from now on; None where that was never known."""
        reached = [each.reached for each in self.progress.values()]
        known = [each for each in reached if each is not None]
        if len(known) < len(reached):
            return None
        oldest = min(known)
        return Freshness(oldest, max(timedelta(0), self.clock() - oldest))

    async def require_program(self, organization: str, program: str) -> None:
        """Refuse with PROGRAM_NOT_FOUND a program that the ledger does not have."""
        if (organization, program) not in self.programs:
            await self.ledger.program(organization, program)
            self.programs.add(organization, program)

"""Programs as the ledger has them, remembered for as long as that is true."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.rules.domain.facts import ProgramFacts, ProgramView
from services.rules.peers.credentials import Credentials
from services.rules.peers.ledger import Ledger

FRESH_SECONDS = 1.0
_PROGRAMS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    facts: ProgramFacts
    now: datetime
    read: float


class Programs:
    """Configurations of programs, and their now.

    What is remembered is looked at again after a second; a sandbox's clock moves when it is told
    to, so that a sandbox is looked at by every request. In between, the now of other programs is
    the ledger's last one and the time since: never ahead of the ledger's, which would refuse it.
    """

    def __init__(
        self, ledger: Ledger, credentials: Credentials, monotonic: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._credentials = credentials
        self._monotonic = monotonic
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def view(
        self, organization: str, program: str, seconds: float, *, fresh: bool = False
    ) -> ProgramView:
        """The program as it is now, not a second ago where it must be `fresh`.

        Refusals: PROGRAM_NOT_FOUND.
        """
        name = (organization, program)
        known = self._known.get(name)
        read = self._monotonic()
        if known is not None and not known.facts.sandbox and not fresh:
            age = read - known.read
            if age < FRESH_SECONDS:
                return ProgramView(program, known.facts, known.now + timedelta(seconds=age))
        metadata = self._credentials.service(organization)
        current = await self._ledger.program(program, seconds, metadata)
        read = self._monotonic()
        if known is not None and known.facts.revision == current.revision:
            facts = known.facts
        else:
            facts = await self._ledger.facts(program, current, seconds, metadata)
        self._known[name] = _Known(facts, current.now, read)
        self._known.move_to_end(name)
        if len(self._known) > _PROGRAMS_MAX:
            self._known.popitem(last=False)
        now = current.now
        if not facts.sandbox:
            now += timedelta(seconds=self._monotonic() - read)
        return ProgramView(program, facts, now)

    async def ready_to_count(
        self, organization: str, view: ProgramView, seconds: float
    ) -> ProgramView:
        """The program with the counters that purchases count in, registered where they are not."""
        missing = view.facts.missing_counters()
        if missing:
            metadata = self._credentials.service(organization)
            for counter, unit in missing.items():
                await self._ledger.create_counter(view.id, counter, unit, seconds, metadata)
            self._known.pop((organization, view.id), None)
            view = await self.view(organization, view.id, seconds)
        return view

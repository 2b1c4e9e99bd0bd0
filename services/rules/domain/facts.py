"""What rules must know of a program that the ledger keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

SPEND = "spend"
VISITS = "visits"


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """A program's configuration at one revision.

    `money` is the ISO 4217 code of its amounts and `exponent` how many decimals they have;
    `currency` is its default kind of points; `counters` are the registered ones, id → unit.
    """

    revision: int
    sandbox: bool
    zone: ZoneInfo
    money: str
    exponent: int
    currency: str
    currencies: frozenset[str]
    strategies: frozenset[str]
    counters: Mapping[str, str]

    def wanted_counters(self) -> dict[str, str]:
        """The counters that rules count in, id → unit."""
        return {SPEND: f"minor:{self.money}", VISITS: VISITS}

    def missing_counters(self) -> dict[str, str]:
        """Those of them that are not registered yet."""
        wanted = self.wanted_counters()
        return {name: unit for name, unit in wanted.items() if name not in self.counters}


@dataclass(frozen=True, slots=True)
class ProgramView:
    """A program as a request sees it: its configuration, and its now as the ledger has it."""

    id: str
    facts: ProgramFacts
    now: datetime

"""Ladders: what their tiers ask for, and which tier numbers reach.

A ladder's tiers go from the base up; the base asks for nothing. Thresholds are inclusive. The
highest tier whose criteria hold is the one reached, whether or not those between hold too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from kernel.calendar import Period

IMPLICIT_LADDER = "default"
IMPLICIT_TIER = "member"


class Match(IntEnum):
    """How criteria combine; the numbers of the contract."""

    ALL = 1
    ANY = 2


@dataclass(frozen=True, slots=True)
class Window:
    """A counter and the local days over which it is summed; `length` of rolling periods only."""

    counter: str
    period: Period
    length: int = 0


Values = Mapping[Window, int]
"""What a member has, in each counter's unit."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A window's value that is enough."""

    window: Window
    threshold: int

    def met(self, values: Values) -> bool:
        """Whether the values reach it; equal is enough."""
        return values[self.window] >= self.threshold


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a ladder. `earning_rate` is from 0 to 100."""

    id: str
    display_name: str = ""
    criteria: tuple[Criterion, ...] = ()
    match: Match = Match.ALL
    earning_rate: Decimal = Decimal(1)
    benefits: tuple[str, ...] = ()

    def reached(self, values: Values) -> bool:
        """Whether the values meet the criteria as they combine; without any, always."""
        if not self.criteria:
            return True
        met = (criterion.met(values) for criterion in self.criteria)
        return any(met) if self.match is Match.ANY else all(met)


@dataclass(frozen=True, slots=True)
class Ladder:
    """An ordered set of tiers, from the base up. Version 0 is what a program without one has."""

    id: str
    tiers: tuple[Tier, ...]
    display_name: str = ""
    version: int = 0

    @property
    def base(self) -> Tier:
        """Where everybody stands who reached nothing more."""
        return self.tiers[0]

    @property
    def stored(self) -> bool:
        """Whether the program was given this ladder."""
        return self.version > 0

    def rank(self, tier: str) -> int:
        """The place of a tier, 0 for the base. A `KeyError` where the ladder has no such tier."""
        for rank, each in enumerate(self.tiers):
            if each.id == tier:
                return rank
        raise KeyError(tier)

    def windows(self) -> tuple[Window, ...]:
        """Everything that the criteria read, each window once, in the order of the tiers."""
        return tuple(
            dict.fromkeys(criterion.window for tier in self.tiers for criterion in tier.criteria)
        )

    def reached(self, values: Values) -> int:
        """The rank of the highest tier that the values reach."""
        for rank in range(len(self.tiers) - 1, 0, -1):
            if self.tiers[rank].reached(values):
                return rank
        return 0


IMPLICIT = Ladder(IMPLICIT_LADDER, (Tier(IMPLICIT_TIER),))
"""The ladder of a program that was given none."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one criterion is: what the member has."""

    criterion: Criterion
    value: int

    @property
    def missing(self) -> int:
        """What is missing; 0 where it is reached."""
        return max(0, self.criterion.threshold - self.value)


def progress(tier: Tier, values: Values) -> tuple[Progress, ...]:
    """How far each criterion of a tier is, in their order."""
    return tuple(Progress(each, values[each.window]) for each in tier.criteria)

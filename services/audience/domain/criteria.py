"""Criteria: conditions on a profile, and which of them exclude each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from kernel.refusals import FieldViolation, InvalidField
from services.audience.domain.profile import Profile

CRITERIA_MAX = 20


class Field(IntEnum):
    """A field of a profile, numbered as in the contract."""

    AVAILABLE = 1
    BALANCE = 2
    LIFETIME_EARNED = 3
    LIFETIME_NET = 4
    TIER = 5


@dataclass(frozen=True, slots=True)
class Criterion:
    """A condition on one field.

    Of TIER: `tiers`, one of which it must be. Of a field of points: `currency` and inclusive
    bounds, None for no bound; an empty currency means the program's default one until it is
    resolved.
    """

    field: Field
    currency: str = ""
    minimum: int | None = None
    maximum: int | None = None
    tiers: tuple[str, ...] = ()

    def axis(self) -> tuple[Field, str]:
        """What the range is over: criteria of one axis can be compared."""
        return self.field, self.currency


@dataclass(frozen=True, slots=True)
class Result:
    """Whether a criterion holds, and the value that decided: points, or the tier."""

    criterion: Criterion
    holds: bool
    value: int = 0
    tier: str = ""


def evaluate(criterion: Criterion, profile: Profile) -> Result:
    """Whether a profile meets a criterion."""
    if criterion.field is Field.TIER:
        return Result(criterion, profile.tier in criterion.tiers, tier=profile.tier)
    value = value_of(criterion, profile)
    above = criterion.minimum is None or value >= criterion.minimum
    below = criterion.maximum is None or value <= criterion.maximum
    return Result(criterion, above and below, value=value)


def value_of(criterion: Criterion, profile: Profile) -> int:
    """The points that a criterion of points reads."""
    holding = profile.holding(criterion.currency)
    match criterion.field:
        case Field.AVAILABLE:
            return holding.available
        case Field.BALANCE:
            return holding.balance
        case Field.LIFETIME_EARNED:
            return holding.earned
        case _:
            return holding.net


def belongs(criteria: Sequence[Criterion], profile: Profile) -> bool:
    """Whether a profile meets all criteria."""
    return all(evaluate(criterion, profile).holds for criterion in criteria)


def overlap(one: Criterion, other: Criterion) -> bool:
    """Whether some value of one field and currency is in both ranges."""
    if one.axis() != other.axis():
        return False
    if one.field is Field.TIER:
        return not set(one.tiers).isdisjoint(other.tiers)
    return _starts_by_the_end_of(one, other) and _starts_by_the_end_of(other, one)


def _starts_by_the_end_of(one: Criterion, other: Criterion) -> bool:
    return one.minimum is None or other.maximum is None or one.minimum <= other.maximum


def check_criteria(criteria: Sequence[Criterion], field: str) -> None:
    """Refuse with INVALID_FIELD no criteria, too many, and two ranges of one field and currency.

    `field` is where they stand in the request. Currencies are resolved already.
    """
    if not criteria:
        raise InvalidField(FieldViolation(field, "at least one is required"))
    if len(criteria) > CRITERIA_MAX:
        raise InvalidField(FieldViolation(field, f"at most {CRITERIA_MAX}"))
    seen: set[tuple[Field, str]] = set()
    for place, criterion in enumerate(criteria):
        if criterion.axis() in seen:
            raise InvalidField(
                FieldViolation(f"{field}[{place}]", "its field has another range before it")
            )
        seen.add(criterion.axis())

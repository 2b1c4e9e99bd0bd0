"""What an event is worth: a pure function of the event, the ruleset and the member's tier.

Everything is computed exactly with integers and fractions; a currency's sum is rounded once, and
the rounded total is shared among the rules by largest remainder, so that the parts add up to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from services.rules.domain.catalogue import PURCHASE
from services.rules.domain.events import NUMBER_MAX, Examined
from services.rules.domain.facts import SPEND, VISITS, ProgramFacts
from services.rules.domain.refusals import PointsOverflow
from services.rules.domain.ruleset import EarningRule, Rounding, Ruleset

_RATE_DECIMALS = 9
_RATE_MAX = 10**15


@dataclass(frozen=True, slots=True)
class TierRate:
    """The member's tier, and what it multiplies purchases' points by."""

    tier: str
    rate: Fraction


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was considered, and why it did what it did. `value` and `rate` are decimals."""

    rule: str
    applied: bool
    explanation: str
    value: str = ""
    rate: str = ""
    points: int = 0


@dataclass(frozen=True, slots=True)
class Earning:
    """Points of one rule. Empty `value`, `rate` and `rounding` belong to fixed points."""

    rule: str
    currency: str
    expiry: str
    points: int
    value: str = ""
    rate: str = ""
    rounding: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an event comes to: points to earn, counters to count, and why."""

    earnings: tuple[Earning, ...]
    counts: tuple[tuple[str, int], ...]
    trace: tuple[Step, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to post."""
        return not self.earnings and not self.counts


@dataclass(slots=True)
class _Effect:
    rule: str
    currency: str
    expiry: str
    exact: Fraction
    place: int
    rounding: Rounding | None = None
    value: str = ""
    rate: str = ""
    points: int = 0


def judge(
    event: Examined, ruleset: Ruleset, facts: ProgramFacts, tier: TierRate | None
) -> Judgement:
    """What an event is worth, but for its visit. `tier` is needed where the ruleset reads tiers.

    Refusals: POINTS_OVERFLOW.
    """
    steps: list[Step] = []
    effects: list[_Effect] = []
    fixed = ruleset.points_of(event.type)
    if fixed:
        effects.append(
            _Effect(f"points.{event.type}", facts.currency, "", Fraction(fixed), len(steps))
        )
    explanation = f"{fixed} points for the event" if fixed else "awards no points"
    steps.append(Step(f"points:{event.type}", bool(fixed), explanation, points=fixed))
    value = "" if event.minor is None else amount_text(event.minor, facts.exponent)
    for rule in ruleset.rules_of(event.type):
        step, effect = _apply(rule, event, facts, tier, value)
        if effect is not None:
            effect.place = len(steps)
            effects.append(effect)
        steps.append(step)
    _round(effects)
    for effect in effects:
        steps[effect.place] = _explained(steps[effect.place], effect)
    counts: tuple[tuple[str, int], ...] = ()
    if event.type == PURCHASE:
        minor = event.minor or 0
        if minor:
            counts = ((SPEND, minor),)
        explanation = f"in minor units of {facts.money}" if minor else "nothing was spent"
        steps.append(Step(f"count:{SPEND}", minor > 0, explanation, value, points=minor))
    earnings = tuple(
        Earning(
            effect.rule,
            effect.currency,
            effect.expiry,
            effect.points,
            effect.value,
            effect.rate,
            "" if effect.rounding is None else effect.rounding.name,
        )
        for effect in effects
        if effect.points
    )
    return Judgement(earnings, counts, tuple(steps))


def with_visit(judgement: Judgement, event: Examined, *, counted: bool) -> Judgement:
    """The judgement with the visit that the event is, or is not, the first to count."""
    if event.visit is None:
        return judgement
    explanation = (
        f"first purchase of {event.visit.day} in this store"
        if counted
        else f"the visit of {event.visit.day} to this store is counted already"
    )
    step = Step(f"count:{VISITS}", counted, explanation, points=int(counted))
    counts = (*judgement.counts, (VISITS, 1)) if counted else judgement.counts
    return replace(judgement, counts=counts, trace=(*judgement.trace, step))


def amount_text(minor: int, exponent: int) -> str:
    """An amount of minor units as a decimal number: `1234`, 2 → `12.34`."""
    return f"{Decimal(minor).scaleb(-exponent):f}"


def rate_text(rate: Fraction) -> str:
    """A rate as a decimal number of at most 9 decimals; empty where it is too large to be one."""
    if rate >= _RATE_MAX:
        return ""
    whole = round(rate * 10**_RATE_DECIMALS)
    digits = f"{whole:0{_RATE_DECIMALS + 1}d}"
    decimals = digits[-_RATE_DECIMALS:].rstrip("0")
    units = digits[:-_RATE_DECIMALS]
    return f"{units}.{decimals}" if decimals else units


def share(parts: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers that add up to `total`, each its part rounded down or up.

    The largest remainders are rounded up; where they are equal, the earlier ones.
    """
    shares = [part.numerator // part.denominator for part in parts]
    order = sorted(range(len(parts)), key=lambda place: (shares[place] - parts[place], place))
    for place in order[: total - sum(shares)]:
        shares[place] += 1
    return shares


def rounded(exact: Fraction, rounding: Rounding) -> int:
    """A sum that is not negative, in whole points."""
    if rounding is Rounding.CEILING:
        return -(-exact.numerator // exact.denominator)
    if rounding is Rounding.HALF_UP:
        return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    return exact.numerator // exact.denominator


def _apply(
    rule: EarningRule,
    event: Examined,
    facts: ProgramFacts,
    tier: TierRate | None,
    value: str,
) -> tuple[Step, _Effect | None]:
    if event.minor is None:
        return Step(rule.id, applied=False, explanation="the event has no amount"), None
    amount = Decimal(event.minor).scaleb(-facts.exponent)
    if amount < rule.minimum_amount:
        explanation = f"below the minimum amount {rule.minimum_amount:f}"
        return Step(rule.id, applied=False, explanation=explanation, value=value), None
    per_unit = rule.per_unit()
    explanation = f"{rule.points:f} points for each {rule.per_amount:f} {facts.money}"
    if rule.tier_rate:
        assert tier is not None, "the ruleset reads tiers"
        per_unit *= tier.rate
        explanation += f", × {rate_text(tier.rate)} in tier {tier.tier}"
    rate = rate_text(per_unit)
    exact = per_unit * event.minor / 10**facts.exponent
    if not exact:
        return Step(rule.id, applied=False, explanation=explanation, value=value, rate=rate), None
    effect = _Effect(
        rule.id,
        rule.currency or facts.currency,
        rule.expiry,
        exact,
        place=0,
        rounding=rule.rounding,
        value=value,
        rate=rate,
    )
    return Step(rule.id, applied=True, explanation=explanation, value=value, rate=rate), effect


def _round(effects: Sequence[_Effect]) -> None:
    """Round the exact sum of each currency once, and share it among the currency's effects."""
    by_currency: dict[str, list[_Effect]] = {}
    for effect in effects:
        by_currency.setdefault(effect.currency, []).append(effect)
    for group in by_currency.values():
        # Where rules differ, the first by id says how; fixed points have no fraction to round.
        rounding = next((each.rounding for each in group if each.rounding), Rounding.FLOOR)
        total = rounded(sum((each.exact for each in group), Fraction(0)), rounding)
        if total > NUMBER_MAX:
            raise PointsOverflow(NUMBER_MAX)
        for effect, points in zip(group, share([e.exact for e in group], total), strict=True):
            effect.points = points
            if effect.rounding is not None:
                effect.rounding = rounding


def _explained(step: Step, effect: _Effect) -> Step:
    if effect.rounding is None:
        return step
    exact = rate_text(effect.exact) or str(effect.exact)
    return replace(
        step,
        applied=effect.points > 0,
        explanation=f"{step.explanation}: {exact}, {effect.rounding.name} → {effect.points}",
        points=effect.points,
    )

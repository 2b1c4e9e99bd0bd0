"""What events are worth in a program: an immutable snapshot, one a version.

A change makes the next snapshot, or the same one where nothing changes. Points are in the
currency's smallest unit; amounts are in the program's money. Everything is an exact decimal.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

from kernel.refusals import (
    CurrencyNotFound,
    EtagStale,
    ExpiryStrategyNotFound,
    FieldViolation,
    InvalidField,
    LimitReached,
)
from services.rules.domain.catalogue import CATALOGUE, PURCHASE
from services.rules.domain.facts import ProgramFacts
from services.rules.domain.refusals import EarningRuleExists, EarningRuleNotFound, EventTypeUnknown

RULES_MAX = 200
# What one event earns goes into one posting, which has room for 100 operations.
RULES_OF_TYPE_MAX = 90


class Rounding(IntEnum):
    """How a fraction of a point is rounded; the numbers of the contract."""

    FLOOR = 1
    HALF_UP = 2
    CEILING = 3


@dataclass(frozen=True, slots=True)
class EarningRule:
    """`points` for each `per_amount` of an event's amount that is at least `minimum_amount`.

    An empty currency is the program's default one, an empty expiry the currency's. `version` is
    that of the ruleset in which the rule last changed.
    """

    id: str
    points: Decimal
    display_name: str = ""
    event_type: str = PURCHASE
    per_amount: Decimal = Decimal(1)
    minimum_amount: Decimal = Decimal(0)
    rounding: Rounding = Rounding.FLOOR
    tier_rate: bool = False
    currency: str = ""
    expiry: str = ""
    version: int = 0

    def per_unit(self) -> Fraction:
        """Points for one unit of money, exactly."""
        return Fraction(self.points) / Fraction(self.per_amount)


RULE_FIELDS = tuple(each.name for each in fields(EarningRule) if each.name not in {"id", "version"})
"""What can be given of a rule, by its name in the contract too."""
_RULE_DEFAULTS = {each.name: each.default for each in fields(EarningRule)}


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One version. `points` holds only what the program made different from the catalogue.

    Rules are ordered by id. Version 0 is that of a program that changed nothing.
    """

    version: int = 0
    points: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[EarningRule, ...] = ()

    def points_of(self, event_type: str) -> int:
        """What the mere event is worth."""
        return self.points.get(event_type, CATALOGUE[event_type].points)

    def rules_of(self, event_type: str) -> tuple[EarningRule, ...]:
        """The rules that a type of events is judged by, by id."""
        return tuple(rule for rule in self.rules if rule.event_type == event_type)

    def reads_tiers(self) -> bool:
        """Whether some rule needs to know the member's tier."""
        return any(rule.tier_rate for rule in self.rules)

    def rule(self, rule: str) -> EarningRule:
        """The rule of that id, or EARNING_RULE_NOT_FOUND."""
        for each in self.rules:
            if each.id == rule:
                return each
        raise EarningRuleNotFound(rule)


def etag_of(ruleset: Ruleset) -> str:
    """The etag of a ruleset."""
    return f"ruleset-{ruleset.version}"


def rule_etag(rule: EarningRule) -> str:
    """The etag of a rule."""
    return f"rule-{rule.version}"


def check_etag(given: str, current: str) -> None:
    """Refuse with ETAG_STALE where an etag is given and is not the current one."""
    if given and given != current:
        raise EtagStale(current)


def set_points(ruleset: Ruleset, changes: Mapping[str, int | None]) -> Ruleset:
    """The ruleset with the points of some types; None goes back to the default.

    Refusals: EVENT_TYPE_UNKNOWN.
    """
    points = dict(ruleset.points)
    for name, given in changes.items():
        known = CATALOGUE.get(name)
        if known is None or not known.configurable:
            raise EventTypeUnknown(name)
        points.pop(name, None)
        if given is not None and given != known.points:
            points[name] = given
    return _next(ruleset, points=points)


def rule_of(rule: str, given: Mapping[str, Any]) -> EarningRule:
    """The rule that is given, the rest of it at its defaults. Refusals: INVALID_FIELD."""
    if "points" not in given:
        raise InvalidField(FieldViolation("earning_rule.points", "is required"))
    return _checked(EarningRule(id=rule, **given))


def add_rule(ruleset: Ruleset, rule: EarningRule, facts: ProgramFacts) -> Ruleset:
    """The ruleset with one more rule, or as it is where it has an equal one.

    Refusals: EARNING_RULE_EXISTS, EVENT_TYPE_UNKNOWN, CURRENCY_NOT_FOUND,
    EXPIRY_STRATEGY_NOT_FOUND, LIMIT_REACHED.
    """
    for existing in ruleset.rules:
        if existing.id == rule.id:
            if replace(existing, version=0) == replace(rule, version=0):
                return ruleset
            raise EarningRuleExists(rule.id)
    _check_world(rule, facts)
    if len(ruleset.rules) >= RULES_MAX:
        raise LimitReached("earning_rules", RULES_MAX, len(ruleset.rules))
    rules = (*ruleset.rules, replace(rule, version=ruleset.version + 1))
    return _next(ruleset, rules=_limited(rules))


def update_rule(
    ruleset: Ruleset,
    rule: str,
    given: Mapping[str, Any],
    mask: Collection[str],
    etag: str,
    facts: ProgramFacts,
) -> Ruleset:
    """The ruleset with the fields of the mask as given, or at their defaults.

    Refusals: EARNING_RULE_NOT_FOUND, ETAG_STALE, INVALID_FIELD, EVENT_TYPE_UNKNOWN,
    CURRENCY_NOT_FOUND, EXPIRY_STRATEGY_NOT_FOUND, LIMIT_REACHED.
    """
    existing = ruleset.rule(rule)
    check_etag(etag, rule_etag(existing))
    unknown = [path for path in mask if path not in RULE_FIELDS]
    if unknown:
        raise InvalidField(
            *(FieldViolation("update_mask", f"{path!r} names no field") for path in unknown)
        )
    names = set(mask) or set(given)
    if "points" in names and "points" not in given:
        raise InvalidField(FieldViolation("earning_rule.points", "is required"))
    changes = {name: given.get(name, _RULE_DEFAULTS[name]) for name in names}
    changed = _checked(replace(existing, **changes))
    if changed == existing:
        return ruleset
    _check_world(changed, facts)
    changed = replace(changed, version=ruleset.version + 1)
    rules = tuple(changed if each.id == rule else each for each in ruleset.rules)
    return _next(ruleset, rules=_limited(rules))


def delete_rule(ruleset: Ruleset, rule: str, etag: str) -> Ruleset:
    """The ruleset without a rule. Refusals: EARNING_RULE_NOT_FOUND, ETAG_STALE."""
    check_etag(etag, rule_etag(ruleset.rule(rule)))
    return _next(ruleset, rules=tuple(each for each in ruleset.rules if each.id != rule))


def _next(
    ruleset: Ruleset,
    *,
    points: Mapping[str, int] | None = None,
    rules: tuple[EarningRule, ...] | None = None,
) -> Ruleset:
    points = ruleset.points if points is None else points
    rules = ruleset.rules if rules is None else tuple(sorted(rules, key=lambda rule: rule.id))
    if points == ruleset.points and rules == ruleset.rules:
        return ruleset
    return Ruleset(ruleset.version + 1, points, rules)


def _checked(rule: EarningRule) -> EarningRule:
    violations = [
        FieldViolation(f"earning_rule.{name}", "must be above 0")
        for name in ("points", "per_amount")
        if getattr(rule, name) <= 0
    ]
    if violations:
        raise InvalidField(*violations)
    return rule


def _check_world(rule: EarningRule, facts: ProgramFacts) -> None:
    known = CATALOGUE.get(rule.event_type)
    if known is None or not known.configurable:
        raise EventTypeUnknown(rule.event_type)
    if rule.currency and rule.currency not in facts.currencies:
        raise CurrencyNotFound(rule.currency)
    if rule.expiry and rule.expiry not in facts.strategies:
        raise ExpiryStrategyNotFound(rule.expiry)


def _limited(rules: tuple[EarningRule, ...]) -> tuple[EarningRule, ...]:
    counts: dict[str, int] = {}
    for rule in rules:
        counts[rule.event_type] = counts.get(rule.event_type, 0) + 1
        if counts[rule.event_type] > RULES_OF_TYPE_MAX:
            raise LimitReached("earning_rules_of_event_type", RULES_OF_TYPE_MAX, RULES_OF_TYPE_MAX)
    return rules

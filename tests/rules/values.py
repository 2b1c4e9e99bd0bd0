"""Values of the domain, as tests of it write them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from services.rules.domain.events import Event, Examined, Money, examine
from services.rules.domain.facts import ProgramFacts
from services.rules.domain.ruleset import EarningRule, Rounding, Ruleset

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 12, tzinfo=UTC)


def facts(money: str = "USD", exponent: int = 2, **changes: Any) -> ProgramFacts:
    """A program with the currencies `points` and `miles`."""
    return ProgramFacts(
        **{
            "revision": 1,
            "sandbox": True,
            "zone": ZoneInfo("America/New_York"),
            "money": money,
            "exponent": exponent,
            "currency": "points",
            "currencies": frozenset({"points", "miles"}),
            "strategies": frozenset({"never", "year"}),
            "counters": {},
            **changes,
        }
    )


def cash(amount: str, currency: str = "") -> Money:
    """An amount of money."""
    return Money(Decimal(amount), currency)


def bought(amount: str | None, event_type: str = "purchase", **changes: Any) -> Event:
    """A purchase of `amount`."""
    money = None if amount is None else cash(amount)
    return Event(**{"id": "e1", "type": event_type, "member": "m1", "amount": money, **changes})


def examined(amount: str | None, event_type: str = "purchase", money: str = "USD") -> Examined:
    """A purchase that a program can take in."""
    exponent = {"JPY": 0, "KWD": 3}.get(money, 2)
    return examine(bought(amount, event_type), facts(money, exponent), NOON, LATER, "event.")


def rule(name: str = "r", points: str = "1", **changes: Any) -> EarningRule:
    """A rule; numbers are texts."""
    decimals = {"per_amount", "minimum_amount"}
    given: dict[str, Any] = {
        key: Decimal(each) if key in decimals else each for key, each in changes.items()
    }
    return EarningRule(id=name, points=Decimal(points), **given)


def ruleset(*rules: EarningRule, **points: int) -> Ruleset:
    """A ruleset of some rules and some points of its own."""
    return Ruleset(1, points, tuple(sorted(rules, key=lambda each: each.id)))


HALF_UP, CEILING = Rounding.HALF_UP, Rounding.CEILING

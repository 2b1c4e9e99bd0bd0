"""Events as they are sent, and what a program makes of them before judging what they are worth."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from kernel.calendar import local_day
from kernel.refusals import EffectiveTimeInFuture, FieldViolation, InvalidField
from services.rules.domain.catalogue import CATALOGUE, PURCHASE
from services.rules.domain.facts import ProgramFacts
from services.rules.domain.refusals import EventTypeUnknown, MoneyCurrencyMismatch, PointsOverflow

NUMBER_MAX = 10**15


@dataclass(frozen=True, slots=True)
class Money:
    """An amount as it is sent; an empty currency is the program's."""

    amount: Decimal
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a member did, as it is sent.

    `lines` are the ids and amounts of a purchase's lines. `content` is the whole event in its
    canonical bytes and `digest` tells it from every other.
    """

    id: str
    type: str
    member: str
    effective_time: datetime | None = None
    amount: Money | None = None
    lines: tuple[tuple[str, Money], ...] = ()
    store: str = ""
    content: bytes = b""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Visit:
    """A member in a store on a local day: counted once, whatever was bought."""

    member: str
    store: str
    day: date


@dataclass(frozen=True, slots=True)
class Examined:
    """An event that a program can take in.

    `minor` is its amount in the smallest unit of the program's money; None where it has none.
    `visit` is what a purchase may count as.
    """

    id: str
    type: str
    effective_time: datetime
    minor: int | None
    visit: Visit | None


def visit_of(event: Event, facts: ProgramFacts, effective_time: datetime) -> Visit | None:
    """The visit that an event may count as; only purchases are visits."""
    if event.type != PURCHASE:
        return None
    return Visit(event.member, event.store, local_day(effective_time, facts.zone))


def examine(
    event: Event, facts: ProgramFacts, effective_time: datetime, latest: datetime, path: str
) -> Examined:
    """What a program makes of an event that happened at `effective_time`.

    `latest` is the latest instant that is not in the future; `path` names the event in the request.
    Refusals: INVALID_FIELD, EFFECTIVE_TIME_IN_FUTURE, EVENT_TYPE_UNKNOWN, MONEY_CURRENCY_MISMATCH,
    POINTS_OVERFLOW.
    """
    violations = _violations(event, facts.exponent, path)
    if violations:
        raise InvalidField(*violations)
    if effective_time > latest:
        raise EffectiveTimeInFuture(latest)
    known = CATALOGUE.get(event.type)
    if known is None or not known.submittable:
        raise EventTypeUnknown(event.type)
    minor = _minor(event, facts)
    if event.type == PURCHASE:
        _check_counters(facts)
    visit = visit_of(event, facts, effective_time)
    return Examined(event.id, event.type, effective_time, minor, visit)


def _minor(event: Event, facts: ProgramFacts) -> int | None:
    for money in _moneys(event):
        if money.currency and money.currency != facts.money:
            raise MoneyCurrencyMismatch(money.currency, facts.money)
    if event.amount is not None:
        amount = event.amount.amount
    elif event.lines:
        amount = sum((money.amount for _, money in event.lines), Decimal(0))
    elif event.type == PURCHASE:
        amount = Decimal(0)
    else:
        return None
    minor = int(amount.scaleb(facts.exponent))
    if minor > NUMBER_MAX:
        raise PointsOverflow(NUMBER_MAX)
    return minor


def _check_counters(facts: ProgramFacts) -> None:
    """Refuse to add up different things: the program's money was changed after it was counted."""
    for counter, unit in facts.wanted_counters().items():
        registered = facts.counters.get(counter, unit)
        if registered != unit:
            raise MoneyCurrencyMismatch(unit, registered)


def _moneys(event: Event) -> list[Money]:
    lines = [money for _, money in event.lines]
    return lines if event.amount is None else [event.amount, *lines]


def _violations(event: Event, exponent: int, path: str) -> list[FieldViolation]:
    found: list[FieldViolation] = []
    if event.amount is not None:
        found += _violation_of(event.amount, exponent, f"{path}amount.amount")
    seen: set[str] = set()
    for place, (line, money) in enumerate(event.lines):
        found += _violation_of(money, exponent, f"{path}lines[{place}].amount.amount")
        if line in seen:
            found.append(FieldViolation(f"{path}lines[{place}].line", "must be unique"))
        seen.add(line)
    return found


def _violation_of(money: Money, exponent: int, field: str) -> list[FieldViolation]:
    if money.amount < 0:
        return [FieldViolation(field, "must not be negative")]
    # Zeros behind the last decimal say nothing, so they may stand there.
    if money.amount != round(money.amount, exponent):
        return [FieldViolation(field, f"must have at most {exponent} decimals")]
    return []

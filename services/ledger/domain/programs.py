"""What may be changed of a program, and when: by field mask and etag, currencies and counters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel.refusals import (
    EtagStale,
    ExpiryStrategyNotFound,
    FieldViolation,
    InvalidField,
    LimitReached,
)
from services.ledger.domain.config import CounterConfig, CurrencyConfig, ProgramConfig
from services.ledger.domain.program_refusals import CounterExists, CurrencyExists
from services.ledger.domain.refusals import SettingOff

CURRENCIES_MAX = 32
COUNTERS_MAX = 1_000
DEFAULT_CURRENCY = "points"


@dataclass(frozen=True, slots=True)
class Known:
    """What the world knows and a pure function cannot look up: time zones and ISO 4217 codes."""

    time_zones: frozenset[str]
    currency_codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class OrganizationSettings:
    """What an organization may do."""

    multiple_programs: bool = False
    bulk_updates: bool = False


def masked(given: Mapping[str, Any], mask: Collection[str], known: Collection[str]) -> set[str]:
    """Which of the `known` paths an update changes.

    A path of the mask is a known path or a group of them; without a mask those that are `given`.
    Refuses with INVALID_FIELD paths that name nothing.
    """
    if not mask:
        return set(given)
    chosen: set[str] = set()
    unknown: list[str] = []
    for path in mask:
        within = {one for one in known if one == path or one.startswith(f"{path}.")}
        chosen |= within
        if not within:
            unknown.append(path)
    if unknown:
        raise InvalidField(
            *(FieldViolation("update_mask", f"{path!r} names no field") for path in unknown)
        )
    return chosen


def check_strategy(config: ProgramConfig, strategy: str) -> None:
    """Refuse with EXPIRY_STRATEGY_NOT_FOUND the name of a strategy that the program has not."""
    if all(expiry.strategy != strategy for expiry in config.expiry):
        raise ExpiryStrategyNotFound(strategy)


def add_currency(config: ProgramConfig, currency: CurrencyConfig) -> ProgramConfig:
    """The configuration with one more currency, or as it is where it has an equal one.

    Refusals: CURRENCY_EXISTS, SETTING_OFF, EXPIRY_STRATEGY_NOT_FOUND, LIMIT_REACHED.
    """
    for existing in config.currencies:
        if existing == currency:
            return config
        if existing.id == currency.id:
            raise CurrencyExists(currency.id)
    if not config.alternate_currencies:
        raise SettingOff("currencies.alternate")
    if currency.expiry:
        check_strategy(config, currency.expiry)
    count = len(config.currencies)
    if count >= CURRENCIES_MAX:
        raise LimitReached("currencies", CURRENCIES_MAX, count)
    return replace(config, currencies=(*config.currencies, currency))


def add_counter(config: ProgramConfig, counter: CounterConfig) -> ProgramConfig:
    """The configuration with one more counter, or as it is where it has an equal one.

    Refusals: COUNTER_EXISTS, LIMIT_REACHED.
    """
    for existing in config.counters:
        if existing == counter:
            return config
        if existing.id == counter.id:
            raise CounterExists(counter.id)
    count = len(config.counters)
    if count >= COUNTERS_MAX:
        raise LimitReached("counters", COUNTERS_MAX, count)
    return replace(config, counters=(*config.counters, counter))


def etag_of(kind: str, number: int) -> str:
    """The etag of the state that `number` counts; `kind` tells one resource's from another's."""
    return f"{kind}-{number}"


def check_etag(given: str, current: str) -> None:
    """Refuse with ETAG_STALE where an etag is given and is not the current one."""
    if given and given != current:
        raise EtagStale(current)

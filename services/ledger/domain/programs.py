"""What may be changed of a program, and when: settings by field mask, currencies, counters, etags.

Settings are addressed by the paths of the contract's `ProgramSettings` (`points.daily_cap`, or a
whole group such as `points`), and kept as the fields of `ProgramConfig`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from kernel.refusals import EtagStale, FieldViolation, InvalidField, LimitReached
from services.ledger.domain.config import CounterConfig, CurrencyConfig, ProgramConfig
from services.ledger.domain.program_refusals import CounterExists, CurrencyExists, SettingFixed
from services.ledger.domain.refusals import ExpiryStrategyNotFound

CURRENCIES_MAX = 32
COUNTERS_MAX = 1_000
DEFAULT_CURRENCY = "points"

# Path in the contract → field of ProgramConfig.
SETTINGS: Mapping[str, str] = {
    "program.time_zone": "time_zone",
    "program.currency_code": "currency_code",
    "program.auto_enrol": "auto_enrol",
    "program.start": "start",
    "program.end": "end",
    "points.maximum_balance": "maximum_balance",
    "points.daily_cap": "daily_cap",
    "points.monthly_cap": "monthly_cap",
    "points.expiry": "expiry",
    "points.default_expiry": "default_expiry",
    "redemption.minimum_balance": "minimum_balance",
    "redemption.step": "step",
    "redemption.conversion_rate": "conversion_rate",
    "redemption.until": "until",
}

_DEFAULTS: Mapping[str, Any] = {
    field.name: field.default for field in fields(ProgramConfig) if field.name != "currencies"
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the world knows and a pure function cannot look up: time zones and ISO 4217 codes."""

    time_zones: frozenset[str]
    currency_codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class OrganizationSettings:
    """What an organization may do."""

    multiple_programs: bool = False


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


def update_settings(
    config: ProgramConfig, given: Mapping[str, Any], mask: Collection[str]
) -> ProgramConfig:
    """The configuration with the settings of the mask as `given`, or at their defaults."""
    changes = {}
    for path in masked(given, mask, SETTINGS):
        field = SETTINGS[path]
        changes[field] = given.get(path, _DEFAULTS[field])
    return replace(config, **changes)


def check_settings(config: ProgramConfig, known: Known) -> None:
    """Refuse settings that contradict themselves or the world.

    Refusals: INVALID_FIELD (all violations at once), then EXPIRY_STRATEGY_NOT_FOUND.
    """
    violations = [*_general_violations(config, known), *_expiry_violations(config)]
    if violations:
        raise InvalidField(*violations)
    if config.default_expiry:
        check_strategy(config, config.default_expiry)
    for currency in config.currencies:
        if currency.expiry:
            check_strategy(config, currency.expiry)


def check_strategy(config: ProgramConfig, strategy: str) -> None:
    """Refuse with EXPIRY_STRATEGY_NOT_FOUND the name of a strategy that the program has not."""
    if all(expiry.strategy != strategy for expiry in config.expiry):
        raise ExpiryStrategyNotFound(strategy)


def check_fixed(old: ProgramConfig, new: ProgramConfig, posted: bool) -> None:
    """Refuse to change what the first posting fixed: local days of the past must stay theirs."""
    if posted and new.time_zone != old.time_zone:
        raise SettingFixed("program.time_zone")


def add_currency(config: ProgramConfig, currency: CurrencyConfig) -> ProgramConfig:
    """The configuration with one more currency, or as it is where it has an equal one.

    Refusals: CURRENCY_EXISTS, EXPIRY_STRATEGY_NOT_FOUND, LIMIT_REACHED.
    """
    for existing in config.currencies:
        if existing == currency:
            return config
        if existing.id == currency.id:
            raise CurrencyExists(currency.id)
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


def _general_violations(config: ProgramConfig, known: Known) -> list[FieldViolation]:
    violations = []
    if config.time_zone not in known.time_zones:
        violations.append(FieldViolation("settings.program.time_zone", "is no IANA time zone"))
    if config.currency_code not in known.currency_codes:
        violations.append(FieldViolation("settings.program.currency_code", "is no ISO 4217 code"))
    if config.start is not None and config.end is not None and config.start >= config.end:
        violations.append(FieldViolation("settings.program.end", "must be after the start"))
    return violations


def _expiry_violations(config: ProgramConfig) -> list[FieldViolation]:
    names: set[str] = set()
    violations = []
    for place, expiry in enumerate(config.expiry):
        if expiry.strategy in names:
            violations.append(
                FieldViolation(f"settings.points.expiry[{place}].strategy", "names must be unique")
            )
        names.add(expiry.strategy)
    return violations

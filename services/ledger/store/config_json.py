"""A program's configuration as the JSON of `program_revision.config`, and back.

What equals its default is left out, so that a stored revision stays readable when fields are added.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

from services.ledger.domain.config import (
    NEVER,
    AcrossPrograms,
    CounterConfig,
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    LimitsPeriod,
    ProgramConfig,
    ReturnsPolicy,
    RoundTo,
)
from services.ledger.domain.program_settings import OTHERS

Json = dict[str, Any]

_CURRENCY = ("display_name", "scale", "maximum_balance", "daily_cap", "monthly_cap", "expiry")
_COUNTER = ("unit", "display_name")
_PLAIN = (
    "time_zone",
    "currency_code",
    "auto_enrol",
    "maximum_balance",
    "daily_cap",
    "monthly_cap",
    "default_expiry",
    "minimum_balance",
    "step",
    "pending_conversion",
    "expiry_notice_days",
    "idle_months",
    "capture_source_value",
    "alternate_currencies",
    "debt_floor",
    "redemption_reversal",
    "reversal_grace_days",
    "redemption_account",
    "redemption_cost_center",
    "transfer_enabled",
    "transfer_minimum",
    "transfer_maximum",
    "transfer_monthly_count",
    "transfer_monthly_points",
    "transfer_minimum_age_days",
    "groups_enabled",
    "fleets_enabled",
)
# Kept by name, as an enumeration is read by people.
_ENUMS: Mapping[str, type[IntEnum]] = {
    "limits_period": LimitsPeriod,
    "returns_policy": ReturnsPolicy,
    "across_programs": AcrossPrograms,
}
_INSTANTS = ("start", "end", "until")


def config_to_json(config: ProgramConfig) -> Json:
    """What is stored of a configuration."""
    answer: Json = {
        "currencies": [
            {"id": one.id, **_changed(one, CurrencyConfig(one.id), _CURRENCY)}
            for one in config.currencies
        ],
    }
    if config.counters:
        answer["counters"] = [
            {"id": one.id, **_changed(one, CounterConfig(one.id), _COUNTER)}
            for one in config.counters
        ]
    default = ProgramConfig(config.currencies)
    answer |= _changed(config, default, _PLAIN)
    enums = _changed(config, default, tuple(_ENUMS))
    answer |= {name: one.name for name, one in enums.items()}
    for name in _INSTANTS:
        instant: datetime | None = getattr(config, name)
        if instant is not None:
            answer[name] = instant.isoformat()
    if config.conversion_rate is not None:
        answer["conversion_rate"] = f"{config.conversion_rate:f}"
    if config.expiry != (NEVER,):
        answer["expiry"] = [_expiry_to_json(one) for one in config.expiry]
    if config.others:
        answer["others"] = dict(config.others)
    return answer


def config_from_json(stored: Mapping[str, Any]) -> ProgramConfig:
    """The configuration that `config_to_json` stored. Keys that it does not know are ignored.

    Programs had more than one currency before there was a setting that allows it: they keep them.
    """
    plain: Json = {name: stored[name] for name in _PLAIN if name in stored}
    instants: Json = {
        name: datetime.fromisoformat(stored[name]) for name in _INSTANTS if name in stored
    }
    enums: Json = {name: kind[stored[name]] for name, kind in _ENUMS.items() if name in stored}
    if len(stored["currencies"]) > 1:
        plain.setdefault("alternate_currencies", True)
    others = stored.get("others", {})
    rate = stored.get("conversion_rate")
    expiry = tuple(_expiry_from_json(one) for one in stored.get("expiry", ()))
    return ProgramConfig(
        currencies=tuple(CurrencyConfig(**one) for one in stored["currencies"]),
        counters=tuple(CounterConfig(**one) for one in stored.get("counters", ())),
        expiry=expiry or (NEVER,),
        conversion_rate=None if rate is None else Decimal(rate),
        **plain,
        **instants,
        **enums,
        others=tuple((path, _tuples(others[path])) for path in sorted(others) if path in OTHERS),
    )


def _changed(value: object, default: object, names: tuple[str, ...]) -> Json:
    pairs = ((name, getattr(value, name)) for name in names)
    return {name: here for name, here in pairs if here != getattr(default, name)}


def _expiry_to_json(expiry: Expiry) -> Json:
    answer: Json = {"strategy": expiry.strategy, "kind": expiry.kind.name}
    if expiry.days:
        answer["days"] = expiry.days
    if expiry.months:
        answer["months"] = expiry.months
    if expiry.round_to != RoundTo.EXACT:
        answer["round_to"] = expiry.round_to.name
    if expiry.date is not None:
        answer["date"] = expiry.date.isoformat()
    return answer


def _expiry_from_json(stored: Mapping[str, Any]) -> Expiry:
    return Expiry(
        strategy=stored["strategy"],
        kind=ExpiryKind[stored["kind"]],
        days=stored.get("days", 0),
        months=stored.get("months", 0),
        round_to=RoundTo[stored.get("round_to", "EXACT")],
        date=date.fromisoformat(stored["date"]) if "date" in stored else None,
    )


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

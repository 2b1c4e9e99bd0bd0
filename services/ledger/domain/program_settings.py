"""The settings of a program: their paths, their defaults, and how they change.

A setting is addressed by its path in the contract's `ProgramSettings` (`points.daily_cap`); a mask
may also name a group of them (`points`, `rollouts.console`). What the ledger decides by is a field
of `ProgramConfig`. What only other services act on is kept as it was given, a plain value: bool,
int, text (enumerations by name, instants as ISO 8601), a tuple or a mapping of those, None for
unset; its bounds are the contract's.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Final

from kernel.refusals import FieldViolation, InvalidField, Refusal
from services.ledger.domain.config import ExpiryKind, ProgramConfig
from services.ledger.domain.program_refusals import SettingFixed
from services.ledger.domain.programs import Known, check_strategy, masked

# Path in the contract → field of ProgramConfig.
SETTINGS: Final[Mapping[str, str]] = {
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
    "points.pending_conversion": "pending_conversion",
    "points.expiry_notice_days": "expiry_notice_days",
    "points.capture_source_value": "capture_source_value",
    "redemption.minimum_balance": "minimum_balance",
    "redemption.step": "step",
    "redemption.conversion_rate": "conversion_rate",
    "redemption.until": "until",
    "redemption.reversal": "redemption_reversal",
    "redemption.reversal_grace_days": "reversal_grace_days",
    "redemption.across_programs": "across_programs",
    "redemption.account": "redemption_account",
    "redemption.cost_center": "redemption_cost_center",
    "returns.policy": "returns_policy",
    "returns.debt_floor": "debt_floor",
    "transfer.enabled": "transfer_enabled",
    "transfer.minimum": "transfer_minimum",
    "transfer.maximum": "transfer_maximum",
    "transfer.monthly_count": "transfer_monthly_count",
    "transfer.monthly_points": "transfer_monthly_points",
    "transfer.minimum_age_days": "transfer_minimum_age_days",
    "limits.period": "limits_period",
    "currencies.alternate": "alternate_currencies",
    "groups.enabled": "groups_enabled",
    "fleets.enabled": "fleets_enabled",
}

# The tracker that every program has, whether or not it registered a counter for it.
SPEND: Final = "spend"

# Path in the contract → default, of what only other services act on.
OTHERS: Final[Mapping[str, Any]] = {
    "points.rounding": "FLOOR",
    "points.rounding_scope": "EVENT",
    "points.earning_base": "AMOUNT_PAID",
    "promotions.max_active": 50,
    "promotions.custom_codes": True,
    "promotions.multiplier_mode": "ADD",
    "tiers.downgrade_on_partner_expiry": False,
    "tiers.daily_review": False,
    "tiers.allowed_trackers.upgrade": (SPEND,),
    "tiers.allowed_trackers.downgrade": (SPEND,),
    "tiers.allowed_trackers.renewal": (SPEND,),
    "targets.award_immediately": True,
    "targets.returns_affect": False,
    "badges.revoke_on_return": False,
    "rewards.automatic_conversion.ladder": (),
    "rewards.automatic_conversion.expiring_days": 0,
    "rewards.automatic_conversion.expiring_minimum": 0,
    "rewards.automatic_conversion.expiring_reward": "",
    "rewards.automatic_conversion.currency": "",
    "recommendations.maximum": 5,
    "partners.maximum": None,
    "partners.linking": False,
    "communications.bulk_priority": "LOW",
    "communications.bulk_priority_until": None,
    "communications.broker": False,
    "kpis.enabled": True,
    "simulation.enabled": True,
    "rollouts.event_trace.phase": "ENABLED",
    "rollouts.event_trace.stores": (),
    "rollouts.event_trace.percent": 0,
    "rollouts.trackers": "LIVE",
    "rollouts.console.phase": "ENABLED",
    "rollouts.console.organizations": (),
    "rollouts.console.percent": 0,
}

PATHS: Final = (*SETTINGS, *OTHERS)
"""The paths of all settings."""

_FIELDS: Final[Mapping[str, Any]] = {
    field.name: field.default for field in fields(ProgramConfig) if field.name != "currencies"
}
DEFAULTS: Final[Mapping[str, Any]] = {
    **{path: _FIELDS[field] for path, field in SETTINGS.items()},
    **OTHERS,
}
"""The value of every setting that is not given, by path."""

_TRACKERS: Final = tuple(path for path in OTHERS if path.startswith("tiers.allowed_trackers."))
# Where a phase is that of the second column, the setting of the third is needed.
_PHASES: Final = (
    ("rollouts.event_trace.phase", "PILOT", "rollouts.event_trace.stores"),
    ("rollouts.event_trace.phase", "MIGRATION", "rollouts.event_trace.percent"),
    ("rollouts.console.phase", "BETA", "rollouts.console.organizations"),
    ("rollouts.console.phase", "PARTIAL", "rollouts.console.percent"),
)


def settings_of(config: ProgramConfig) -> dict[str, Any]:
    """The value of every setting, by path."""
    return {
        **{path: getattr(config, field) for path, field in SETTINGS.items()},
        **OTHERS,
        **dict(config.others),
    }


def changed_settings(before: ProgramConfig, after: ProgramConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that two configurations have otherwise: their values before and after."""
    old, new = settings_of(before), settings_of(after)
    return {path: (old[path], new[path]) for path in PATHS if old[path] != new[path]}


def update_settings(
    config: ProgramConfig, given: Mapping[str, Any], mask: Collection[str]
) -> ProgramConfig:
    """The configuration with the settings of the mask as `given`, or at their defaults."""
    changes = {}
    others = dict(config.others)
    for path in masked(given, mask, PATHS):
        value = given.get(path, DEFAULTS[path])
        if path in SETTINGS:
            changes[SETTINGS[path]] = value
        elif value == OTHERS[path]:
            others.pop(path, None)
        else:
            others[path] = value
    return replace(config, others=tuple(sorted(others.items())), **changes)


def restore_settings(config: ProgramConfig, old: ProgramConfig) -> ProgramConfig:
    """The configuration with the settings of an older one, and its own currencies and counters."""
    return replace(old, currencies=config.currencies, counters=config.counters)


def with_idle_months(old: ProgramConfig, new: ProgramConfig) -> ProgramConfig:
    """The new configuration, which remembers what lots made under the old one expire by."""
    months = {one.months for one in old.expiry if one.kind is ExpiryKind.INACTIVITY}
    months -= {one.months for one in new.expiry if one.kind is ExpiryKind.INACTIVITY}
    months |= {old.idle_months} if old.idle_months is not None else set()
    return replace(new, idle_months=min(months, default=None))


def check_fixed(old: ProgramConfig, new: ProgramConfig, posted: bool) -> None:
    """Refuse to change what can no longer be: SETTING_FIXED.

    Local days of the past must stay theirs, and currencies are never removed.
    """
    if posted and new.time_zone != old.time_zone:
        raise SettingFixed("program.time_zone")
    if len(new.currencies) > 1 and not new.alternate_currencies:
        raise SettingFixed("currencies.alternate")


def check_settings(config: ProgramConfig, known: Known) -> None:
    """Refuse settings that contradict themselves or the world.

    Refusals: INVALID_FIELD (all violations at once), then EXPIRY_STRATEGY_NOT_FOUND.
    """
    violations = [
        *_general_violations(config, known),
        *_expiry_violations(config),
        *_transfer_violations(config),
        *_conversion_violations(config),
        *_tracker_violations(config),
        *_phase_violations(config),
    ]
    if violations:
        raise InvalidField(*violations)
    if config.default_expiry:
        check_strategy(config, config.default_expiry)
    for currency in config.currencies:
        if currency.expiry:
            check_strategy(config, currency.expiry)


@contextmanager
def naming_item(place: int) -> Iterator[None]:
    """Let what is refused within say which item of a batch it is about, by its place from 0."""
    try:
        yield
    except InvalidField as refused:
        raise InvalidField(
            *(
                FieldViolation(f"items[{place}].{each.field}", each.description)
                for each in refused.violations
            )
        ) from None
    except Refusal as refused:
        refused.metadata["operation"] = str(place)
        raise


def _violation(path: str, description: str) -> FieldViolation:
    return FieldViolation(f"settings.{path}", description)


def _general_violations(config: ProgramConfig, known: Known) -> list[FieldViolation]:
    violations = []
    if config.time_zone not in known.time_zones:
        violations.append(_violation("program.time_zone", "is no IANA time zone"))
    if config.currency_code not in known.currency_codes:
        violations.append(_violation("program.currency_code", "is no ISO 4217 code"))
    if config.start is not None and config.end is not None and config.start >= config.end:
        violations.append(_violation("program.end", "must be after the start"))
    return violations


def _expiry_violations(config: ProgramConfig) -> list[FieldViolation]:
    names: set[str] = set()
    violations = []
    for place, expiry in enumerate(config.expiry):
        if expiry.strategy in names:
            violations.append(
                _violation(f"points.expiry[{place}].strategy", "names must be unique")
            )
        names.add(expiry.strategy)
    return violations


def _transfer_violations(config: ProgramConfig) -> list[FieldViolation]:
    maximum = config.transfer_maximum
    if maximum is None or config.transfer_minimum <= maximum:
        return []
    return [_violation("transfer.maximum", "must not be less than the minimum")]


def _conversion_violations(config: ProgramConfig) -> list[FieldViolation]:
    group = "rewards.automatic_conversion"
    settings = settings_of(config)
    violations = []
    before = 0
    for place, step in enumerate(settings[f"{group}.ladder"]):
        if step["points"] <= before:
            violations.append(
                _violation(f"{group}.ladder[{place}].points", "must be more than the step before")
            )
        before = step["points"]
    if settings[f"{group}.expiring_days"] and not settings[f"{group}.expiring_reward"]:
        violations.append(_violation(f"{group}.expiring_reward", "is needed with expiring_days"))
    currency = settings[f"{group}.currency"]
    if currency and all(currency != each.id for each in config.currencies):
        violations.append(_violation(f"{group}.currency", "is no currency of the program"))
    return violations


def _tracker_violations(config: ProgramConfig) -> list[FieldViolation]:
    known = {SPEND, "points_earned"}
    known.update(counter.id for counter in config.counters)
    known.update(f"points_earned:{currency.id}" for currency in config.currencies)
    settings = settings_of(config)
    return [
        _violation(f"{path}[{place}]", "is no counter of the program")
        for path in _TRACKERS
        for place, name in enumerate(settings[path])
        if name not in known
    ]


def _phase_violations(config: ProgramConfig) -> list[FieldViolation]:
    settings = settings_of(config)
    return [
        _violation(needed, f"is needed in the phase {phase}")
        for path, phase, needed in _PHASES
        if settings[path] == phase and not settings[needed]
    ]

"""The pure rules of programs, and that a configuration survives being stored."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.refusals import InvalidField, LimitReached, Refusal
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
from services.ledger.domain.program_settings import (
    DEFAULTS,
    OTHERS,
    PATHS,
    changed_settings,
    check_fixed,
    check_settings,
    naming_item,
    restore_settings,
    settings_of,
    update_settings,
)
from services.ledger.domain.programs import (
    COUNTERS_MAX,
    Known,
    add_counter,
    add_currency,
    masked,
)
from services.ledger.store.config_json import config_from_json, config_to_json

POINTS = CurrencyConfig("points")
MILES = CurrencyConfig("miles", scale=2, expiry="year")
YEAR = Expiry("year", ExpiryKind.FIXED, months=12)
PLAIN = ProgramConfig(currencies=(POINTS,))
# Every setting at another value than its default.
CHANGED: dict[str, Any] = {
    "time_zone": "Europe/Berlin",
    "currency_code": "EUR",
    "auto_enrol": True,
    "start": datetime(2026, 1, 1, tzinfo=UTC),
    "end": datetime(2027, 1, 1, tzinfo=UTC),
    "maximum_balance": 1,
    "daily_cap": 2,
    "monthly_cap": 3,
    "expiry": (YEAR,),
    "default_expiry": "year",
    "minimum_balance": 4,
    "step": 5,
    "conversion_rate": Decimal("0.01"),
    "until": datetime(2028, 1, 1, tzinfo=UTC),
    "pending_conversion": True,
    "expiry_notice_days": 6,
    "capture_source_value": False,
    "alternate_currencies": True,
    "limits_period": LimitsPeriod.BILLING_MONTH,
    "returns_policy": ReturnsPolicy.ALLOW_DEBT,
    "debt_floor": 7,
    "redemption_reversal": True,
    "reversal_grace_days": 8,
    "across_programs": AcrossPrograms.PROPORTIONAL,
    "redemption_account": "4711",
    "redemption_cost_center": "shop",
    "transfer_enabled": True,
    "transfer_minimum": 9,
    "transfer_maximum": 10,
    "transfer_monthly_count": 11,
    "transfer_monthly_points": 12,
    "transfer_minimum_age_days": 13,
    "groups_enabled": True,
    "fleets_enabled": True,
    "others": tuple((path, "another") for path in sorted(OTHERS)),
}
KNOWN = Known(frozenset({"UTC", "Europe/Berlin"}), frozenset({"USD", "EUR"}))


def test_a_mask_chooses_known_paths_and_whole_groups() -> None:
    cases = {
        (): {"points.daily_cap"},
        ("points.daily_cap",): {"points.daily_cap"},
        ("targets",): {"targets.award_immediately", "targets.returns_affect"},
        ("rollouts.console",): {
            "rollouts.console.phase",
            "rollouts.console.organizations",
            "rollouts.console.percent",
        },
        ("points", "points.daily_cap"): {path for path in PATHS if path.startswith("points.")},
    }

    chosen = {mask: masked({"points.daily_cap": 1}, mask, PATHS) for mask in cases}

    assert chosen == cases


def test_every_path_that_names_nothing_is_told() -> None:
    with pytest.raises(InvalidField) as refused:
        masked({}, ["points", "a", "points.b"], PATHS)

    descriptions = [violation.description for violation in refused.value.violations]
    assert descriptions == ["'a' names no field", "'points.b' names no field"]


def test_every_setting_goes_back_to_its_default_by_its_path() -> None:
    changed = ProgramConfig(
        currencies=(POINTS, MILES), counters=(CounterConfig("visits"),), **CHANGED
    )
    defaults = replace(PLAIN, currencies=changed.currencies, counters=changed.counters)
    groups = {path.partition(".")[0] for path in PATHS}

    assert set(changed_settings(defaults, changed)) == set(PATHS)
    assert update_settings(changed, {}, list(PATHS)) == defaults
    assert update_settings(changed, {}, groups) == defaults
    for path in PATHS:
        reset = update_settings(changed, {}, [path])
        assert changed_settings(changed, reset) == {
            path: (settings_of(changed)[path], DEFAULTS[path])
        }


def test_a_setting_at_its_default_is_not_kept() -> None:
    changed = update_settings(PLAIN, {"promotions.max_active": 7, "kpis.enabled": True}, ())
    back = update_settings(changed, {"promotions.max_active": 50}, ())

    assert changed.others == (("promotions.max_active", 7),)
    assert back == PLAIN


def test_what_is_restored_are_the_settings_alone() -> None:
    old = replace(PLAIN, daily_cap=5, others=(("kpis.enabled", False),))
    now = replace(PLAIN, currencies=(POINTS, MILES), counters=(CounterConfig("visits"),), step=9)

    restored = restore_settings(now, old)

    assert settings_of(restored) == settings_of(old)
    assert (restored.currencies, restored.counters) == (now.currencies, now.counters)


def test_a_refusal_names_the_item_of_a_batch() -> None:
    with pytest.raises(InvalidField) as malformed, naming_item(3):
        masked({}, ["a", "b"], PATHS)
    with pytest.raises(Refusal) as fixed, naming_item(4):
        check_fixed(PLAIN, replace(PLAIN, time_zone="Europe/Berlin"), posted=True)

    fields = [violation.field for violation in malformed.value.violations]
    assert fields == ["items[3].update_mask", "items[3].update_mask"]
    assert malformed.value.metadata == {"field": "items[3].update_mask"}
    assert fixed.value.metadata == {"field": "program.time_zone", "operation": "4"}


def test_further_currencies_fix_the_setting_that_allows_them() -> None:
    several = replace(PLAIN, currencies=(POINTS, MILES), alternate_currencies=True)

    check_fixed(replace(PLAIN, alternate_currencies=True), PLAIN, posted=True)
    check_fixed(several, replace(several, step=2), posted=True)
    with pytest.raises(Refusal) as refused:
        check_fixed(several, replace(several, alternate_currencies=False), posted=False)

    assert refused.value.metadata == {"field": "currencies.alternate"}


def test_the_time_zone_is_fixed_by_the_first_posting_alone() -> None:
    berlin = replace(PLAIN, time_zone="Europe/Berlin")

    check_fixed(PLAIN, berlin, posted=False)
    check_fixed(berlin, replace(berlin, currency_code="EUR"), posted=True)
    with pytest.raises(Refusal) as refused:
        check_fixed(PLAIN, berlin, posted=True)

    assert refused.value.reason == "SETTING_FIXED"


def test_settings_are_checked_against_each_other_and_the_world() -> None:
    with_miles = replace(PLAIN, currencies=(POINTS, MILES), expiry=(NEVER, YEAR))

    def other(**values: Any) -> ProgramConfig:
        given = {name.replace("__", "."): value for name, value in values.items()}
        return update_settings(replace(with_miles, counters=(CounterConfig("visits"),)), given, ())

    rewards, tiers = "rewards__automatic_conversion__", "tiers__allowed_trackers__"
    trace, console = "rollouts__event_trace__", "rollouts__console__"
    cases = {
        "plain": (PLAIN, ""),
        "a currency's own strategy": (with_miles, ""),
        "a currency's strategy that is gone": (
            replace(with_miles, expiry=(NEVER,)),
            "EXPIRY_STRATEGY_NOT_FOUND",
        ),
        "a default that is none": (
            replace(PLAIN, default_expiry="year"),
            "EXPIRY_STRATEGY_NOT_FOUND",
        ),
        "an unknown zone": (replace(PLAIN, time_zone="Mars"), "INVALID_FIELD"),
        "an unknown code": (replace(PLAIN, currency_code="ZZZ"), "INVALID_FIELD"),
        "a transfer of one number": (
            replace(PLAIN, transfer_minimum=7, transfer_maximum=7),
            "",
        ),
        "a transfer of no number": (
            replace(PLAIN, transfer_minimum=8, transfer_maximum=7),
            "INVALID_FIELD",
        ),
        "an ascending ladder": (other(**{f"{rewards}ladder": _ladder(1, 2)}), ""),
        "a ladder that stands still": (
            other(**{f"{rewards}ladder": _ladder(2, 2)}),
            "INVALID_FIELD",
        ),
        "expiring points that become something": (
            other(**{f"{rewards}expiring_days": 3, f"{rewards}expiring_reward": "r"}),
            "",
        ),
        "expiring points that become nothing": (
            other(**{f"{rewards}expiring_days": 3}),
            "INVALID_FIELD",
        ),
        "a currency of the program": (other(**{f"{rewards}currency": "miles"}), ""),
        "a currency of no program": (other(**{f"{rewards}currency": "cash"}), "INVALID_FIELD"),
        "known trackers": (
            other(
                **{f"{tiers}upgrade": ("visits", "spend", "points_earned", "points_earned:miles")}
            ),
            "",
        ),
        "an unknown tracker": (other(**{f"{tiers}renewal": ("items",)}), "INVALID_FIELD"),
        "a pilot in a store": (other(**{f"{trace}phase": "PILOT", f"{trace}stores": ("s",)}), ""),
        "a pilot in no store": (other(**{f"{trace}phase": "PILOT"}), "INVALID_FIELD"),
        "a migration of some": (other(**{f"{trace}phase": "MIGRATION", f"{trace}percent": 1}), ""),
        "a migration of none": (other(**{f"{trace}phase": "MIGRATION"}), "INVALID_FIELD"),
        "a beta for nobody": (other(**{f"{console}phase": "BETA"}), "INVALID_FIELD"),
        "a part that is none": (other(**{f"{console}phase": "PARTIAL"}), "INVALID_FIELD"),
    }

    reasons = {}
    for name, (config, _) in cases.items():
        reasons[name] = ""
        try:
            check_settings(config, KNOWN)
        except Refusal as refusal:
            reasons[name] = refusal.reason

    assert reasons == {name: reason for name, (_, reason) in cases.items()}


def _ladder(*points: int) -> tuple[dict[str, Any], ...]:
    return tuple({"points": each, "reward": "r"} for each in points)


def test_adding_appends_and_adding_the_equal_changes_nothing() -> None:
    visits = CounterConfig("visits", unit="visits")
    config = replace(PLAIN, expiry=(NEVER, YEAR), alternate_currencies=True)

    more = add_counter(add_currency(config, MILES), visits)

    assert (more.currencies, more.counters) == ((POINTS, MILES), (visits,))
    assert add_currency(more, MILES) is more
    assert add_counter(more, visits) is more


def test_a_second_currency_needs_the_setting() -> None:
    assert add_currency(PLAIN, POINTS) is PLAIN
    with pytest.raises(Refusal) as refused:
        add_currency(PLAIN, MILES)

    assert refused.value.reason == "SETTING_OFF"
    assert refused.value.metadata == {"setting": "currencies.alternate"}


def test_a_program_has_a_thousand_counters_at_most() -> None:
    full = replace(PLAIN, counters=tuple(CounterConfig(str(n)) for n in range(COUNTERS_MAX)))

    assert add_counter(full, CounterConfig("7")) is full
    with pytest.raises(LimitReached) as refused:
        add_counter(full, CounterConfig("one more"))

    assert refused.value.metadata["limit"] == "1000"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
points = st.none() | st.integers(0, 10**15)
instants = st.none() | st.integers(0, 10**15).map(
    lambda n: datetime(1900, 1, 1, tzinfo=UTC) + timedelta(microseconds=n)
)
currencies = st.builds(
    CurrencyConfig, texts, texts, st.integers(0, 6), points, points, points, texts
)
strategies = st.builds(
    Expiry,
    texts,
    st.sampled_from(ExpiryKind),
    st.integers(0, 36_525),
    st.integers(0, 1_200),
    st.sampled_from(RoundTo),
    st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
)
rates = st.none() | st.decimals("0", "999999999", places=9, allow_nan=False, allow_infinity=False)
configs = st.builds(
    ProgramConfig,
    currencies=st.lists(currencies, min_size=1, max_size=4).map(tuple),
    counters=st.lists(st.builds(CounterConfig, texts, texts, texts), max_size=4).map(tuple),
    time_zone=texts,
    currency_code=texts,
    auto_enrol=st.booleans(),
    start=instants,
    end=instants,
    maximum_balance=points,
    daily_cap=points,
    monthly_cap=points,
    expiry=st.lists(strategies, min_size=1, max_size=4).map(tuple),
    default_expiry=texts,
    minimum_balance=st.integers(0, 10**15),
    step=st.integers(1, 10**15),
    conversion_rate=rates,
    until=instants,
    pending_conversion=st.booleans(),
    expiry_notice_days=st.integers(0, 366),
    capture_source_value=st.booleans(),
    limits_period=st.sampled_from(LimitsPeriod),
    returns_policy=st.sampled_from(ReturnsPolicy),
    debt_floor=points,
    redemption_reversal=st.booleans(),
    reversal_grace_days=st.integers(0, 366),
    across_programs=st.sampled_from(AcrossPrograms),
    redemption_account=texts,
    redemption_cost_center=texts,
    transfer_enabled=st.booleans(),
    transfer_minimum=st.integers(1, 10**15),
    transfer_maximum=points,
    transfer_monthly_count=st.none() | st.integers(0, 10**6),
    transfer_monthly_points=points,
    transfer_minimum_age_days=st.integers(0, 36_525),
    groups_enabled=st.booleans(),
    fleets_enabled=st.booleans(),
    # A program with several currencies has the setting on, as the one with one may.
    alternate_currencies=st.just(True),
    others=st.dictionaries(
        st.sampled_from(list(OTHERS)),
        st.booleans() | st.integers(-(10**15), 10**15) | texts | st.lists(texts).map(tuple),
    ).map(lambda others: tuple(sorted(others.items()))),
)


@given(configs)
def test_a_configuration_survives_being_stored(config: ProgramConfig) -> None:
    stored = json.loads(json.dumps(config_to_json(config)))

    assert config_from_json(stored) == config


def test_what_a_later_version_stores_besides_is_ignored() -> None:
    others = {"invented.later": 1, "kpis.enabled": False}
    stored = config_to_json(PLAIN) | {"created": {}, "invented_later": 1, "others": others}

    assert config_from_json(stored) == replace(PLAIN, others=(("kpis.enabled", False),))


def test_what_had_currencies_before_there_was_a_setting_keeps_them() -> None:
    stored = {"currencies": [{"id": "points"}, {"id": "miles"}]}

    assert config_from_json(stored).alternate_currencies
    assert not config_from_json({"currencies": [{"id": "points"}]}).alternate_currencies

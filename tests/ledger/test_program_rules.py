"""The pure rules of programs, and that a configuration survives being stored."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.refusals import InvalidField, LimitReached, Refusal
from services.ledger.domain.config import (
    NEVER,
    CounterConfig,
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    ProgramConfig,
    RoundTo,
)
from services.ledger.domain.programs import (
    COUNTERS_MAX,
    SETTINGS,
    Known,
    add_counter,
    add_currency,
    check_fixed,
    check_settings,
    masked,
    update_settings,
)
from services.ledger.store.config_json import config_from_json, config_to_json

POINTS = CurrencyConfig("points")
MILES = CurrencyConfig("miles", scale=2, expiry="year")
YEAR = Expiry("year", ExpiryKind.FIXED, months=12)
PLAIN = ProgramConfig(currencies=(POINTS,))
KNOWN = Known(frozenset({"UTC", "Europe/Berlin"}), frozenset({"USD", "EUR"}))


def test_a_mask_chooses_known_paths_and_whole_groups() -> None:
    cases = {
        (): {"points.daily_cap"},
        ("points.daily_cap",): {"points.daily_cap"},
        ("redemption",): {
            "redemption.minimum_balance",
            "redemption.step",
            "redemption.conversion_rate",
            "redemption.until",
        },
        ("points", "points.daily_cap"): {path for path in SETTINGS if path.startswith("points.")},
    }

    chosen = {mask: masked({"points.daily_cap": 1}, mask, SETTINGS) for mask in cases}

    assert chosen == cases


def test_every_path_that_names_nothing_is_told() -> None:
    with pytest.raises(InvalidField) as refused:
        masked({}, ["points", "a", "points.b"], SETTINGS)

    descriptions = [violation.description for violation in refused.value.violations]
    assert descriptions == ["'a' names no field", "'points.b' names no field"]


def test_every_setting_goes_back_to_its_default_by_its_path() -> None:
    changed = ProgramConfig(
        currencies=(POINTS, MILES),
        counters=(CounterConfig("visits"),),
        time_zone="Europe/Berlin",
        currency_code="EUR",
        auto_enrol=True,
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2027, 1, 1, tzinfo=UTC),
        maximum_balance=1,
        daily_cap=2,
        monthly_cap=3,
        expiry=(YEAR,),
        default_expiry="year",
        minimum_balance=4,
        step=5,
        conversion_rate=Decimal("0.01"),
        until=datetime(2028, 1, 1, tzinfo=UTC),
    )
    defaults = replace(PLAIN, currencies=changed.currencies, counters=changed.counters)

    assert update_settings(changed, {}, list(SETTINGS)) == defaults
    assert update_settings(changed, {}, ["program", "points", "redemption"]) == defaults


def test_the_time_zone_is_fixed_by_the_first_posting_alone() -> None:
    berlin = replace(PLAIN, time_zone="Europe/Berlin")

    check_fixed(PLAIN, berlin, posted=False)
    check_fixed(berlin, replace(berlin, currency_code="EUR"), posted=True)
    with pytest.raises(Refusal) as refused:
        check_fixed(PLAIN, berlin, posted=True)

    assert refused.value.reason == "SETTING_FIXED"


def test_settings_are_checked_against_each_other_and_the_world() -> None:
    with_miles = replace(PLAIN, currencies=(POINTS, MILES), expiry=(NEVER, YEAR))
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
    }

    reasons = {}
    for name, (config, _) in cases.items():
        reasons[name] = ""
        try:
            check_settings(config, KNOWN)
        except Refusal as refusal:
            reasons[name] = refusal.reason

    assert reasons == {name: reason for name, (_, reason) in cases.items()}


def test_adding_appends_and_adding_the_equal_changes_nothing() -> None:
    visits = CounterConfig("visits", unit="visits")
    config = replace(PLAIN, expiry=(NEVER, YEAR))

    more = add_counter(add_currency(config, MILES), visits)

    assert (more.currencies, more.counters) == ((POINTS, MILES), (visits,))
    assert add_currency(more, MILES) is more
    assert add_counter(more, visits) is more


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
)


@given(configs)
def test_a_configuration_survives_being_stored(config: ProgramConfig) -> None:
    stored = json.loads(json.dumps(config_to_json(config)))

    assert config_from_json(stored) == config


def test_what_a_later_version_stores_besides_is_ignored() -> None:
    stored = config_to_json(PLAIN) | {"created": {}, "invented_later": 1}

    assert config_from_json(stored) == PLAIN

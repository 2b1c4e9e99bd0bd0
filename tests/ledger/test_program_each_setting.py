"""Each setting, one by one: kept as given, answered, told in the history, and reset by its mask."""

from typing import Any

import pytest
from google.protobuf import json_format

from loyalty.ledger.v1 import program_pb2
from services.ledger.domain.program_settings import PATHS
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

Settings = program_pb2.ProgramSettings
YEAR = {"strategy": "year", "kind": "FIXED", "months": 12, "roundTo": "MONTH"}
GALA = {"strategy": "gala", "kind": "DATE", "date": {"year": 2027, "month": 2, "day": 28}}

# Path → a value that is not the default, in JSON.
EXAMPLES: dict[str, Any] = {
    "program.time_zone": "Europe/Berlin",
    "program.currency_code": "EUR",
    "program.auto_enrol": True,
    "program.start": "2026-01-01T00:00:00Z",
    "program.end": "2030-01-01T00:00:00.000001Z",
    "points.maximum_balance": "0",
    "points.daily_cap": "1000000000000000",
    "points.monthly_cap": "7",
    "points.expiry": [YEAR, GALA],
    "points.default_expiry": "never",
    "points.pending_conversion": True,
    "points.expiry_notice_days": 366,
    "points.capture_source_value": False,
    "points.rounding": "HALF_UP",
    "points.rounding_scope": "EFFECT",
    "points.earning_base": "UNREDEEMED_PURCHASES",
    "redemption.minimum_balance": "50",
    "redemption.step": "10",
    "redemption.conversion_rate": "0.000000001",
    "redemption.until": "2031-01-01T00:00:00Z",
    "redemption.reversal": True,
    "redemption.reversal_grace_days": 1,
    "redemption.across_programs": "PROPORTIONAL",
    "redemption.account": "4711 \u20ac",
    "redemption.cost_center": "Caf\u00e9",
    "returns.policy": "ALLOW_DEBT",
    "returns.debt_floor": "0",
    "transfer.enabled": True,
    "transfer.minimum": "5",
    "transfer.maximum": "1",
    "transfer.monthly_count": 0,
    "transfer.monthly_points": "0",
    "transfer.minimum_age_days": 36525,
    "limits.period": "BILLING_MONTH",
    "currencies.alternate": True,
    "groups.enabled": True,
    "fleets.enabled": True,
    "promotions.max_active": 0,
    "promotions.custom_codes": False,
    "promotions.multiplier_mode": "MULTIPLY",
    "tiers.downgrade_on_partner_expiry": True,
    "tiers.daily_review": True,
    "tiers.allowed_trackers.upgrade": ["points_earned", "spend"],
    "tiers.allowed_trackers.downgrade": ["points_earned:points"],
    "tiers.allowed_trackers.renewal": ["spend", "points_earned"],
    "targets.award_immediately": False,
    "targets.returns_affect": True,
    "badges.revoke_on_return": True,
    "rewards.automatic_conversion.ladder": [
        {"points": "500", "reward": "five"},
        {"points": "1000000000000000", "reward": "all"},
    ],
    "rewards.automatic_conversion.expiring_days": 366,
    "rewards.automatic_conversion.expiring_minimum": "1",
    "rewards.automatic_conversion.expiring_reward": "tea",
    "rewards.automatic_conversion.currency": "points",
    "recommendations.maximum": 0,
    "partners.maximum": 0,
    "partners.linking": True,
    "communications.bulk_priority": "HIGH",
    "communications.bulk_priority_until": "2026-12-24T18:00:00Z",
    "communications.broker": True,
    "kpis.enabled": False,
    "simulation.enabled": False,
    "rollouts.event_trace.phase": "DISABLED",
    "rollouts.event_trace.stores": ["s-1", "s-2"],
    "rollouts.event_trace.percent": 100,
    "rollouts.trackers": "SHADOW",
    "rollouts.console.phase": "FORCED",
    "rollouts.console.organizations": ["acme"],
    "rollouts.console.percent": 1,
}
# What a setting needs besides.
BESIDES: dict[str, dict[str, Any]] = {
    "rewards.automatic_conversion.expiring_days": {
        "rewards.automatic_conversion.expiring_reward": "tea"
    },
}


def made_of(values: dict[str, Any]) -> Settings:
    """Settings of values by path, in JSON."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        place = tree
        *groups, name = path.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return json_format.ParseDict(tree, Settings())


def value_of(settings: Settings, path: str) -> Any:
    """A setting in JSON, None where it is not there."""
    place = json_format.MessageToDict(
        settings, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    *groups, name = path.split(".")
    for group in groups:
        place = place[group]
    return place.get(name)


async def update(ledger: LedgerUnderTest, *paths: str, **fields: Any) -> Settings:
    """Update the settings of `p1`, with the paths as the mask."""
    request = program_pb2.UpdateProgramSettingsRequest(program="p1", **fields)
    request.update_mask.paths.extend(paths)
    changed: Settings = await ledger.programs.UpdateProgramSettings(request)
    return changed


def changes_of(settings: Settings) -> dict[str, tuple[Any, Any]]:
    """What an answer says that was changed: before and after by path."""
    return {
        change.path: (
            json_format.MessageToDict(change.before),
            json_format.MessageToDict(change.after),
        )
        for change in settings.changes
    }


def test_there_is_an_example_of_every_setting() -> None:
    assert sorted(EXAMPLES) == sorted(PATHS)


ALONE = sorted(set(EXAMPLES) - {"points.default_expiry", "transfer.maximum"})


async def test_each_setting_is_kept_as_given_and_goes_back_to_its_default(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    read = program_pb2.GetProgramSettingsRequest(program="p1")
    defaults: Settings = await ledger.programs.GetProgramSettings(read)
    for path in ALONE:
        values = {path: EXAMPLES[path], **BESIDES.get(path, {})}
        told = {each: (value_of(defaults, each), value) for each, value in values.items()}

        preview = await update(ledger, *values, settings=made_of(values), validate_only=True)
        changed = await update(ledger, *values, settings=made_of(values))
        kept: Settings = await ledger.programs.GetProgramSettings(read)
        back = await update(ledger, *values, settings=Settings())
        after: Settings = await ledger.programs.GetProgramSettings(read)

        assert preview == changed, path
        assert value_of(kept, path) == value_of(made_of(values), path), path
        assert after.revision == kept.revision + 1, path
        if path != "points.expiry":
            assert changes_of(changed) == told, path
            assert changes_of(back) == {each: (new, old) for each, (old, new) in told.items()}
        after.revision, after.etag = defaults.revision, defaults.etag
        assert after == defaults, path


async def test_a_change_tells_lists_of_messages_as_they_are_given(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    changed = await update(ledger, settings=made_of({"points.expiry": [YEAR, GALA]}))

    never = [{"strategy": "never", "kind": "NONE"}]
    assert changes_of(changed) == {"points.expiry": (never, [YEAR, GALA])}


async def test_all_settings_are_kept_together_from_the_beginning(ledger: LedgerUnderTest) -> None:
    given = made_of(EXAMPLES | {"points.default_expiry": "gala", "transfer.maximum": "5"})
    await ledger.create_program("p1", settings=given)

    found: Settings = await ledger.programs.GetProgramSettings(
        program_pb2.GetProgramSettingsRequest(program="p1")
    )

    assert (found.revision, found.etag) == (1, "settings-1")
    found.ClearField("revision")
    found.ClearField("etag")
    assert found == given


async def test_every_group_is_a_path_of_its_own(ledger: LedgerUnderTest) -> None:
    given = made_of(EXAMPLES | {"points.default_expiry": "gala", "transfer.maximum": "5"})
    await ledger.create_program("p1")
    defaults = await update(ledger, settings=Settings(), validate_only=True)
    await update(ledger, settings=given)

    groups = sorted({path.partition(".")[0] for path in PATHS})
    reset = await update(ledger, *groups, settings=Settings())

    reset.revision, reset.etag = defaults.revision, defaults.etag
    assert {path for path in PATHS if value_of(given, path) is None} == set()
    assert set(changes_of(reset)) == set(PATHS)
    del reset.changes[:]
    assert reset == defaults


HOSTILE: dict[str, tuple[str, Any]] = {
    "a notice a year and two days before": ("points.expiry_notice_days", 367),
    "a notice after the fact": ("points.expiry_notice_days", -1),
    "a rounding that there is not": ("points.rounding", 99),
    "a debt that is negative": ("returns.debt_floor", "-1"),
    "a debt beyond all points": ("returns.debt_floor", "1000000000000001"),
    "a policy that there is not": ("returns.policy", -1),
    "a grace of a thousand years": ("redemption.reversal_grace_days", 365_000),
    "an account of many characters": ("redemption.account", "x" * 65),
    "a cost center with a NUL": ("redemption.cost_center", "a\0b"),
    "a transfer of less than nothing": ("transfer.minimum", "-5"),
    "a transfer of at most nothing": ("transfer.maximum", "0"),
    "a month of a billion transfers": ("transfer.monthly_count", 10**9),
    "points older than a century": ("transfer.minimum_age_days", 36_526),
    "ten thousand and one promotions": ("promotions.max_active", 10_001),
    "a negative number of recommendations": ("recommendations.maximum", -1),
    "a percent of 101": ("rollouts.event_trace.percent", 101),
    "a percent below nothing": ("rollouts.console.percent", -1),
    "a time before there were any": ("communications.bulk_priority_until", "1899-12-31T23:59:59Z"),
    "a reward with a space": ("rewards.automatic_conversion.expiring_reward", "a b"),
}


async def test_what_is_out_of_bounds_is_refused_by_its_path(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    for case, (path, value) in HOSTILE.items():
        refused = await refusal(update(ledger, settings=made_of({path: value})))

        assert (refused.reason, refused.fields) == ("INVALID_FIELD", (f"settings.{path}",)), case


LADDER = "rewards.automatic_conversion.ladder"
UPGRADE = "tiers.allowed_trackers.upgrade"
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a least transfer that is more than the most": (
        {"transfer.minimum": "8", "transfer.maximum": "7"},
        "transfer.maximum",
    ),
    "a ladder that goes down": (
        {LADDER: [{"points": "2", "reward": "a"}, {"points": "1", "reward": "b"}]},
        f"{LADDER}[1].points",
    ),
    "a step without points": ({LADDER: [{"reward": "a"}]}, f"{LADDER}[0].points"),
    "a step without a reward": ({LADDER: [{"points": "1"}]}, f"{LADDER}[0].reward"),
    "twenty-one steps": ({LADDER: [{"points": "1", "reward": "a"}] * 21}, LADDER),
    "a tracker that nobody registered": ({UPGRADE: ["spend", "visits"]}, f"{UPGRADE}[1]"),
    "a tracker twice": ({UPGRADE: ["spend", "spend"]}, UPGRADE),
    "a tracker that is no name": ({UPGRADE: ["a b"]}, f"{UPGRADE}[0]"),
    "a pilot in no store": (
        {"rollouts.event_trace.phase": "PILOT"},
        "rollouts.event_trace.stores",
    ),
    "a migration of nothing": (
        {"rollouts.event_trace.phase": "MIGRATION"},
        "rollouts.event_trace.percent",
    ),
    "a beta for nobody": ({"rollouts.console.phase": "BETA"}, "rollouts.console.organizations"),
    "a part of nothing": ({"rollouts.console.phase": "PARTIAL"}, "rollouts.console.percent"),
    "points of no currency": (
        {"rewards.automatic_conversion.currency": "miles"},
        "rewards.automatic_conversion.currency",
    ),
}


async def test_what_contradicts_itself_is_refused_by_its_path(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    for case, (values, field) in CONTRADICTIONS.items():
        on_update = await refusal(update(ledger, settings=made_of(values), validate_only=True))
        on_create = await refusal(ledger.create_program("p2", settings=made_of(values)))

        fields = (f"settings.{field}",)
        assert (on_update.reason, on_update.fields) == ("INVALID_FIELD", fields), case
        assert on_create == on_update


async def test_trackers_are_counters_that_are_registered(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    visits = program_pb2.CreateCounterRequest(program="p1", counter_id="visits")
    await ledger.programs.CreateCounter(visits)

    changed = await update(ledger, settings=made_of({UPGRADE: ["visits"]}))

    assert list(changed.tiers.allowed_trackers.upgrade) == ["visits"]
    assert list(changed.tiers.allowed_trackers.renewal) == ["spend"]


async def test_a_second_currency_needs_its_setting_which_then_stays_on(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    miles = program_pb2.CreateCurrencyRequest(program="p1", currency_id="miles")

    off = await refusal(ledger.programs.CreateCurrency(miles))
    await update(ledger, settings=made_of({"currencies.alternate": True}))
    await update(ledger, "currencies.alternate", settings=Settings())
    await update(ledger, settings=made_of({"currencies.alternate": True}))
    await ledger.programs.CreateCurrency(miles)
    fixed = await refusal(update(ledger, "currencies", settings=Settings()))
    still = await update(ledger, settings=made_of({"points.daily_cap": "1"}))

    assert (off.reason, off.metadata) == ("SETTING_OFF", {"setting": "currencies.alternate"})
    assert (fixed.reason, fixed.metadata) == ("SETTING_FIXED", {"field": "currencies.alternate"})
    assert still.currencies.alternate

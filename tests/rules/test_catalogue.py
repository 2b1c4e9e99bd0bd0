"""The catalogue of event types, and rulesets as values."""

from dataclasses import replace
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.rules.domain.catalogue import CATALOGUE, Category
from services.rules.domain.ruleset import (
    RULES_OF_TYPE_MAX,
    Ruleset,
    add_rule,
    delete_rule,
    rule_of,
    set_points,
    update_rule,
)
from services.rules.store.rulesets import from_json, to_json
from tests.rules.values import CEILING, facts, rule, ruleset

SHOWN = {
    Category.ENGAGEMENT: ["page_view", "product_view", "product_click", "search"],
    Category.CONVERSION: ["add_to_cart", "view_cart", "begin_checkout", "purchase"],
    Category.MESSAGE: ["qr_scan", "message_open", "message_read", "message_click"],
    Category.QUEUE: ["queue_entered", "queue_admitted", "queue_completed"],
    Category.DRAW: ["draw_entered", "draw_won", "draw_completed"],
    Category.AUCTION: ["bid_placed", "bid_won"],
    Category.APPOINTMENT: [
        "appointment_booked",
        "appointment_confirmed",
        "appointment_checked_in",
        "appointment_completed",
    ],
    Category.WAITLIST: ["waitlist_entered"],
}
HIDDEN = [name for name, each in CATALOGUE.items() if each.category is Category.HIDDEN]


def test_the_catalogue_has_its_categories() -> None:
    shown = {
        category: [name for name, each in CATALOGUE.items() if each.category is category]
        for category in SHOWN
    }

    assert shown == SHOWN


def test_every_shown_type_awards_something_but_a_purchase() -> None:
    nothing = [name for name, each in CATALOGUE.items() if each.configurable and not each.points]

    assert nothing == ["purchase"]


def test_hidden_types_award_nothing() -> None:
    assert {CATALOGUE[name].points for name in HIDDEN} == {0}
    assert {"purchase_returned", "points_expired", "tier_changed"} <= {
        name for name in HIDDEN if not CATALOGUE[name].submittable
    }


def reason_of(call: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.reason


@pytest.mark.parametrize("name", [*HIDDEN, "levitated"])
def test_hidden_and_unknown_types_cannot_be_configured(name: str) -> None:
    assert reason_of(lambda: set_points(Ruleset(), {name: 5})) == "EVENT_TYPE_UNKNOWN"
    asked = rule(event_type=name)
    assert reason_of(lambda: add_rule(Ruleset(), asked, facts())) == "EVENT_TYPE_UNKNOWN"


def test_only_what_differs_from_the_default_is_kept() -> None:
    first = set_points(Ruleset(), {"page_view": 7, "search": 1, "qr_scan": 0})
    second = set_points(first, {"page_view": None, "product_view": None})

    assert (first.version, dict(first.points)) == (1, {"page_view": 7, "qr_scan": 0})
    assert first.points_of("qr_scan") == 0
    assert (second.version, dict(second.points)) == (2, {"qr_scan": 0})
    assert set_points(second, {"qr_scan": 0}) is second


def test_a_rule_that_is_there_already_changes_nothing() -> None:
    first = add_rule(Ruleset(), rule(), facts())

    assert add_rule(first, rule(), facts()) is first
    assert reason_of(lambda: add_rule(first, rule(points="2"), facts())) == "EARNING_RULE_EXISTS"


def test_rules_stand_by_id() -> None:
    both = add_rule(add_rule(Ruleset(), rule("b"), facts()), rule("a"), facts())

    assert [each.id for each in both.rules] == ["a", "b"]
    assert [each.version for each in both.rules] == [2, 1]


def test_an_update_changes_what_is_given_or_what_the_mask_names() -> None:
    start = add_rule(Ruleset(), rule(display_name="x", minimum_amount="5"), facts())

    given = update_rule(start, "r", {"rounding": CEILING}, (), "", facts())
    masked = update_rule(given, "r", {"rounding": CEILING}, ("minimum_amount",), "", facts())
    same = update_rule(masked, "r", {"display_name": "x"}, (), "", facts())

    assert given.rule("r").rounding is CEILING
    assert given.rule("r").display_name == "x"
    assert masked.rule("r").minimum_amount == 0
    assert masked.rule("r").rounding is CEILING
    assert same is masked
    assert (masked.version, masked.rule("r").version) == (3, 3)


UPDATES: dict[str, tuple[dict[str, Any], tuple[str, ...], str, str]] = {
    "an old etag": ({"display_name": "x"}, (), "rule-0", "ETAG_STALE"),
    "a mask that names nothing": ({}, ("colour",), "", "INVALID_FIELD"),
    "points are taken away": ({}, ("points",), "", "INVALID_FIELD"),
    "an unknown currency": ({"currency": "gold"}, (), "", "CURRENCY_NOT_FOUND"),
    "an unknown strategy": ({"expiry": "soon"}, (), "", "EXPIRY_STRATEGY_NOT_FOUND"),
    "an unknown type": ({"event_type": "x"}, (), "", "EVENT_TYPE_UNKNOWN"),
}


@pytest.mark.parametrize("case", UPDATES)
def test_updates_that_are_refused(case: str) -> None:
    given, mask, etag, reason = UPDATES[case]
    start = add_rule(Ruleset(), rule(), facts())

    assert reason_of(lambda: update_rule(start, "r", given, mask, etag, facts())) == reason


def test_a_deleted_rule_is_gone() -> None:
    start = add_rule(Ruleset(), rule(), facts())

    assert delete_rule(start, "r", "rule-1").rules == ()
    assert reason_of(lambda: delete_rule(start, "x", "")) == "EARNING_RULE_NOT_FOUND"
    assert reason_of(lambda: delete_rule(start, "r", "rule-9")) == "ETAG_STALE"


@pytest.mark.parametrize("field", ["points", "per_amount"])
def test_a_rule_of_nothing_is_refused(field: str) -> None:
    given = {"points": rule().points, field: rule(points="0").points}

    assert reason_of(lambda: rule_of("r", given)) == "INVALID_FIELD"
    assert reason_of(lambda: rule_of("r", {})) == "INVALID_FIELD"


def test_a_type_has_so_many_rules_as_one_posting_has_room_for() -> None:
    full = ruleset(*(rule(f"r{n:03}") for n in range(RULES_OF_TYPE_MAX)))

    assert reason_of(lambda: add_rule(full, rule("s"), facts())) == "LIMIT_REACHED"
    assert add_rule(full, rule("s", event_type="bid_won"), facts()).version == 2


def test_a_program_has_200_rules() -> None:
    types = ["purchase", "bid_won", "bid_placed"]
    full = ruleset(*(rule(f"r{n:03}", event_type=types[n % 3]) for n in range(200)))

    assert reason_of(lambda: add_rule(full, rule("s"), facts())) == "LIMIT_REACHED"


def test_a_ruleset_is_kept_as_it_is() -> None:
    whole = ruleset(
        replace(rule("a", "0.000001", per_amount="3.5", minimum_amount="10"), version=4),
        rule("b", tier_rate=True, currency="miles", expiry="year", rounding=CEILING),
        page_view=0,
    )

    assert from_json(1, to_json(whole)) == whole

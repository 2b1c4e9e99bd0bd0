"""What events are worth: the pure function by tables of cases, and its promises by search."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.refusals import Refusal
from services.rules.domain.evaluate import (
    TierRate,
    judge,
    rate_text,
    rounded,
    share,
    with_visit,
)
from services.rules.domain.events import Event, examine
from services.rules.domain.facts import ProgramFacts
from services.rules.domain.ruleset import EarningRule, Rounding
from tests.rules.values import (
    CEILING,
    HALF_UP,
    LATER,
    NOON,
    bought,
    cash,
    examined,
    facts,
    rule,
    ruleset,
)

GOLD = TierRate("gold", Fraction(3, 2))

# rules, amount → points by rule
AMOUNTS: dict[str, tuple[list[EarningRule], str, dict[str, int]]] = {
    "one point a unit, rounded down": ([rule()], "12.99", {"r": 12}),
    "less than a point is nothing": ([rule()], "0.99", {}),
    "nothing was bought": ([rule()], "0", {}),
    "points for each five": ([rule(points="2", per_amount="5")], "12.49", {"r": 4}),
    "a third of a point a unit": ([rule(per_amount="3")], "3", {"r": 1}),
    "the minimum amount is enough": ([rule(minimum_amount="10")], "10.00", {"r": 10}),
    "a cent below the minimum amount": ([rule(minimum_amount="10")], "9.99", {}),
    "half a point is rounded up": ([rule(rounding=HALF_UP)], "12.50", {"r": 13}),
    "less than half is rounded down": ([rule(rounding=HALF_UP)], "12.49", {"r": 12}),
    "any part of a point is rounded up": ([rule(rounding=CEILING)], "12.01", {"r": 13}),
    "whole points are not rounded up": ([rule(rounding=CEILING)], "12.00", {"r": 12}),
    "a tenth of 0.3 is exact": ([rule(points="0.1", per_amount="0.1")], "0.3", {}),
    "three tenths make it whole": ([rule(points="0.1", per_amount="0.1")], "3", {"r": 3}),
    "halves of two rules are one point": (
        [rule("a", "0.5"), rule("b", "0.5")],
        "1",
        {"a": 1},
    ),
    "the larger remainder gets the point": (
        [rule("a", "0.4"), rule("b", "0.6")],
        "1",
        {"b": 1},
    ),
    "the sum is rounded once": (
        [rule("a", "1.4"), rule("b", "1.4"), rule("c", "1.4")],
        "1",
        {"a": 2, "b": 1, "c": 1},
    ),
    "the first rule by id says how": (
        [rule("a", "0.2", rounding=CEILING), rule("b", "0.3")],
        "1",
        {"b": 1},
    ),
    "each currency is rounded by itself": (
        [rule("a", "0.5"), rule("b", "0.5", currency="miles")],
        "1",
        {},
    ),
    "rules of other types are not asked": ([rule(event_type="bid_won")], "5", {}),
}


@pytest.mark.parametrize("case", AMOUNTS)
def test_points_by_amount(case: str) -> None:
    rules, amount, expected = AMOUNTS[case]

    judgement = judge(examined(amount), ruleset(*rules), facts(), None)

    assert {earning.rule: earning.points for earning in judgement.earnings} == expected
    by_trace = {step.rule: step.points for step in judgement.trace if step.rule in {"a", "b", "c"}}
    for name, points in by_trace.items():
        assert points == expected.get(name, 0)


@pytest.mark.parametrize(
    "money, amount, minor, text",
    [("JPY", "1200", 1200, "1200"), ("KWD", "1.234", 1234, "1.234"), ("USD", "5", 500, "5.00")],
)
def test_amounts_have_the_decimals_of_their_money(
    money: str, amount: str, minor: int, text: str
) -> None:
    event = examined(amount, money=money)
    exponent = {"JPY": 0, "KWD": 3}.get(money, 2)

    judgement = judge(event, ruleset(rule()), facts(money, exponent), None)

    assert event.minor == minor
    assert judgement.counts == (("spend", minor),)
    assert judgement.earnings[0].value == text


def test_the_tier_multiplies_only_the_rules_that_say_so() -> None:
    rules = ruleset(rule("a", tier_rate=True), rule("b"))

    judgement = judge(examined("10"), rules, facts(), GOLD)

    assert [(each.rule, each.points, each.rate) for each in judgement.earnings] == [
        ("a", 15, "1.5"),
        ("b", 10, "1"),
    ]
    assert "tier gold" in judgement.trace[1].explanation


def test_fixed_points_and_points_by_amount_add_up() -> None:
    judgement = judge(examined("10"), ruleset(rule("a", "0.19"), purchase=5), facts(), None)

    assert [(each.rule, each.points) for each in judgement.earnings] == [
        ("points.purchase", 5),
        ("a", 1),
    ]


def test_the_trace_names_every_rule_that_was_considered() -> None:
    rules = ruleset(rule("a", minimum_amount="20"), rule("b"))
    event = examined("10")

    judgement = with_visit(judge(event, rules, facts(), None), event, counted=False)

    assert [(step.rule, step.applied) for step in judgement.trace] == [
        ("points:purchase", False),
        ("a", False),
        ("b", True),
        ("count:spend", True),
        ("count:visits", False),
    ]
    assert judgement.trace[1].explanation == "below the minimum amount 20"
    assert judgement.trace[2].explanation == "1 points for each 1 USD: 10, FLOOR → 10"


def test_an_event_without_an_amount_is_not_judged_by_amount() -> None:
    rules = ruleset(rule(event_type="bid_won"))

    judgement = judge(examined(None, "bid_won"), rules, facts(), None)

    assert [(each.rule, each.points) for each in judgement.earnings] == [("points.bid_won", 25)]
    assert judgement.trace[1].explanation == "the event has no amount"


def test_only_purchases_are_counted() -> None:
    event = examined("10", "bid_won")

    judgement = with_visit(judge(event, ruleset(), facts(), None), event, counted=False)

    assert event.visit is None
    assert judgement.counts == ()


def test_a_visit_belongs_to_the_local_day() -> None:
    # Half past midnight in UTC is the evening before in New York.
    event = examine(bought("1"), facts(), NOON.replace(hour=0, minute=30), LATER, "event.")

    assert event.visit is not None
    assert event.visit.day.isoformat() == "2026-02-28"


def test_the_amount_is_that_of_the_lines_where_none_is_given() -> None:
    lines = (("1", cash("1.10")), ("2", cash("2")))
    event = examine(bought(None, lines=lines), facts(), NOON, LATER, "event.")

    assert event.minor == 310


REFUSED: dict[str, tuple[Event, ProgramFacts, str]] = {
    "money of another currency": (
        replace(bought("1"), amount=cash("1", "EUR")),
        facts(),
        "MONEY_CURRENCY_MISMATCH",
    ),
    "a line of another currency": (
        bought("1", lines=(("1", cash("1", "EUR")),)),
        facts(),
        "MONEY_CURRENCY_MISMATCH",
    ),
    "a negative amount": (bought("-1"), facts(), "INVALID_FIELD"),
    "a negative line": (bought("1", lines=(("1", cash("-1")),)), facts(), "INVALID_FIELD"),
    "a part of a cent": (bought("1.001"), facts(), "INVALID_FIELD"),
    "a part of a yen": (bought("1.5"), facts("JPY", 0), "INVALID_FIELD"),
    "two lines of one id": (
        bought("1", lines=(("1", cash("1")),) * 2),
        facts(),
        "INVALID_FIELD",
    ),
    "a type that nobody knows": (bought("1", "levitated"), facts(), "EVENT_TYPE_UNKNOWN"),
    "a type of the system": (bought("1", "points_expired"), facts(), "EVENT_TYPE_UNKNOWN"),
    "more than can be counted": (bought("10000000000000.01"), facts(), "POINTS_OVERFLOW"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_program_does_not_take_in(case: str) -> None:
    event, program, reason = REFUSED[case]

    with pytest.raises(Refusal) as caught:
        examine(event, program, NOON, LATER, "event.")

    assert caught.value.reason == reason


def test_an_event_of_the_future_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        examine(bought("1"), facts(), LATER, NOON, "event.")

    assert caught.value.reason == "EFFECTIVE_TIME_IN_FUTURE"


def test_more_points_than_can_be_had_are_refused() -> None:
    with pytest.raises(Refusal) as caught:
        judge(examined("10000000000"), ruleset(rule(points="1000000")), facts(), None)

    assert caught.value.reason == "POINTS_OVERFLOW"


def test_zeros_behind_the_last_decimal_say_nothing() -> None:
    assert examined("1.500").minor == 150


RATES = {Fraction(1): "1", Fraction(3, 2): "1.5", Fraction(1, 3): "0.333333333"}


@pytest.mark.parametrize("rate", RATES)
def test_rates_are_decimals(rate: Fraction) -> None:
    assert rate_text(rate) == RATES[rate]


FRACTIONS = st.fractions(min_value=0, max_value=1000, max_denominator=1000)


@given(st.lists(FRACTIONS, min_size=1, max_size=20), st.sampled_from(list(Rounding)))
def test_shares_add_up_and_are_next_to_their_parts(
    parts: list[Fraction], rounding: Rounding
) -> None:
    total = rounded(sum(parts, Fraction(0)), rounding)

    shares = share(parts, total)

    assert sum(shares) == total
    assert all(abs(each - part) < 1 for each, part in zip(shares, parts, strict=True))


@given(FRACTIONS)
def test_roundings_stand_in_their_order(exact: Fraction) -> None:
    floor, half, ceiling = (rounded(exact, each) for each in Rounding)

    assert floor <= exact <= ceiling
    assert floor <= half <= ceiling
    assert abs(half - exact) <= Fraction(1, 2)
    assert ceiling - floor == (exact.denominator != 1)

"""The pure part: which tier numbers reach, and what an evaluation changes."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.calendar import Period
from kernel.refusals import CounterNotFound, EtagStale, InvalidField
from services.tiers.domain.ladder import IMPLICIT, Criterion, Ladder, Match, Tier, Window, progress
from services.tiers.domain.membership import Cause, Move, Reading, Standing, evaluate
from services.tiers.domain.rules import (
    changed,
    check_counters,
    check_etag,
    check_ladder,
    taken_out,
)
from services.tiers.store.ladder_json import ladder_from_json, ladder_to_json

SPEND = Window("spend", Period.LIFETIME)
VISITS = Window("visits", Period.ROLLING_DAYS, 30)
ENROLLED = datetime(2026, 1, 1, tzinfo=UTC)
EARLIER = datetime(2026, 2, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def ladder_of(*tiers: Tier) -> Ladder:
    return Ladder("status", (Tier("bronze"), *tiers), version=3)


def tier_of(name: str, spend: int = 0, visits: int = 0, match: Match = Match.ALL) -> Tier:
    criteria = [Criterion(SPEND, spend)] if spend else []
    criteria += [Criterion(VISITS, visits)] if visits else []
    return Tier(name, criteria=tuple(criteria), match=match)


METALS = ladder_of(tier_of("silver", 250), tier_of("gold", 1000))
BOTH = ladder_of(tier_of("silver", 250, 5))
EITHER = ladder_of(tier_of("silver", 250, 5, Match.ANY))
CROOKED = ladder_of(tier_of("silver", visits=5), tier_of("gold", 1000))

REACHED = {
    "nothing reaches the base": (METALS, 0, 0, "bronze"),
    "one less than the threshold is not enough": (METALS, 249, 0, "bronze"),
    "the threshold itself is enough": (METALS, 250, 0, "silver"),
    "one less than the next threshold stays below": (METALS, 999, 0, "silver"),
    "a tier may be skipped": (METALS, 1000, 0, "gold"),
    "far above is the top": (METALS, 10**15, 0, "gold"),
    "a negative value reaches nothing": (METALS, -5, 0, "bronze"),
    "all needs every criterion": (BOTH, 250, 4, "bronze"),
    "all with every criterion": (BOTH, 250, 5, "silver"),
    "any needs one of them": (EITHER, 0, 5, "silver"),
    "any with the other one": (EITHER, 250, 0, "silver"),
    "any with none of them": (EITHER, 249, 4, "bronze"),
    "a tier counts though the one below is missed": (CROOKED, 1000, 0, "gold"),
    "the implicit ladder has one tier": (IMPLICIT, 10**15, 10**15, "member"),
}


@pytest.mark.parametrize("ladder, spend, visits, tier", REACHED.values(), ids=REACHED)
def test_the_highest_tier_that_is_reached_counts(
    ladder: Ladder, spend: int, visits: int, tier: str
) -> None:
    reached = ladder.reached({SPEND: spend, VISITS: visits})

    assert ladder.tiers[reached].id == tier


def reading(spend: int, time: datetime = NOW) -> Reading:
    return Reading(ENROLLED, {SPEND: spend, VISITS: 0}, time)


ENROLMENT = Move("", "bronze", Cause.ENROLLED, ENROLLED, 3)
CHANGES = {
    "the first evaluation enrols": (None, reading(0), [ENROLMENT]),
    "the first evaluation may rise at once": (
        None,
        reading(250),
        [ENROLMENT, Move("bronze", "silver", Cause.UPGRADED, NOW, 3, (250,))],
    ),
    "an upgrade": (
        Standing("bronze", ENROLLED),
        reading(1000),
        [Move("bronze", "gold", Cause.UPGRADED, NOW, 3, (1000,))],
    ),
    "the same tier changes nothing": (Standing("silver", EARLIER), reading(250), []),
    "nobody falls": (Standing("gold", EARLIER), reading(0), []),
    "an upgrade is never before the tier it leaves": (
        Standing("silver", NOW),
        reading(1000, EARLIER),
        [Move("silver", "gold", Cause.UPGRADED, NOW, 3, (1000,))],
    ),
}


@pytest.mark.parametrize("standing, read, moves", CHANGES.values(), ids=CHANGES)
def test_an_evaluation_enrols_and_raises(
    standing: Standing | None, read: Reading, moves: list[Move]
) -> None:
    assert list(evaluate(METALS, standing, read)) == moves


@given(spends=st.lists(st.integers(-100, 2000), min_size=1, max_size=6), data=st.data())
def test_evaluations_in_any_order_and_twice_end_the_same(
    spends: list[int], data: st.DataObject
) -> None:
    again = data.draw(st.permutations(spends + spends))

    def end(values: list[int]) -> tuple[str, int]:
        standing: Standing | None = None
        changes = 0
        for value in values:
            for move in evaluate(METALS, standing, reading(value)):
                standing = Standing(move.to_tier, move.effective_time)
                changes += move.cause is Cause.ENROLLED
        assert standing is not None
        return standing.tier, changes

    highest = METALS.tiers[METALS.reached({SPEND: max(spends)})].id

    assert end(spends) == end(again) == (highest, 1)


def test_progress_says_what_is_missing_and_never_less_than_nothing() -> None:
    steps = progress(BOTH.tiers[1], {SPEND: 300, VISITS: 2})

    assert [(each.value, each.missing) for each in steps] == [(300, 0), (2, 3)]


def test_each_window_is_read_once() -> None:
    ladder = ladder_of(tier_of("silver", 250, 5), tier_of("gold", 1000, 9))

    assert ladder.windows() == (SPEND, VISITS)


MANY = tuple(Criterion(Window("spend", Period.ROLLING_DAYS, n), 1) for n in range(1, 102))
WRONG = {
    "no tiers": (Ladder("status", ()), ["ladder.tiers"]),
    "too many tiers": (ladder_of(*(tier_of(f"t{n}", n + 1) for n in range(20))), ["ladder.tiers"]),
    "a base with criteria": (
        Ladder("status", (tier_of("bronze", 1),)),
        ["ladder.tiers[0].criteria"],
    ),
    "a tier without criteria": (ladder_of(Tier("silver")), ["ladder.tiers[1].criteria"]),
    "an id twice": (ladder_of(tier_of("bronze", 1)), ["ladder.tiers[1].tier"]),
    "a rate above 100": (
        Ladder("status", (Tier("bronze", earning_rate=Decimal("100.0001")),)),
        ["ladder.tiers[0].earning_rate"],
    ),
    "a rate below 0": (
        Ladder("status", (Tier("bronze", earning_rate=Decimal(-1)),)),
        ["ladder.tiers[0].earning_rate"],
    ),
    "more windows than one reading has": (
        ladder_of(Tier("silver", criteria=MANY)),
        ["ladder.tiers"],
    ),
}


@pytest.mark.parametrize("ladder, fields", WRONG.values(), ids=WRONG)
def test_what_is_no_ladder_is_refused(ladder: Ladder, fields: list[str]) -> None:
    with pytest.raises(InvalidField) as caught:
        check_ladder(ladder, "ladder")

    assert [violation.field for violation in caught.value.violations] == fields


def test_a_rate_of_100_and_20_tiers_are_allowed() -> None:
    ladder = ladder_of(*(tier_of(f"t{n}", n + 1) for n in range(19)))

    check_ladder(ladder, "ladder")
    check_ladder(Ladder("status", (Tier("bronze", earning_rate=Decimal(100)),)), "ladder")


def test_a_counter_must_be_known() -> None:
    check_counters(BOTH, {"spend", "visits"})

    with pytest.raises(CounterNotFound) as caught:
        check_counters(BOTH, {"spend"})

    assert caught.value.metadata == {"counter": "visits"}


def test_a_mask_says_what_changes() -> None:
    tiers = (Tier("base"),)
    cases: dict[str, tuple[dict[str, Any], tuple[str, ...], object]] = {
        "without a mask what is set": ({"display_name": "New"}, (), ("New", METALS.tiers)),
        "a mask of one": ({"display_name": "New", "tiers": tiers}, ("tiers",), ("", tiers)),
        "a field of the mask that is not set is emptied": (
            {"tiers": tiers},
            ("display_name",),
            ("", METALS.tiers),
        ),
    }

    found = {
        name: (ladder.display_name, ladder.tiers)
        for name, (given, mask, _) in cases.items()
        for ladder in [changed(METALS, given, mask)]
    }

    assert found == {name: expected for name, (_, _, expected) in cases.items()}
    with pytest.raises(InvalidField):
        changed(METALS, {}, ("version",))


def test_an_etag_is_of_one_version() -> None:
    check_etag("", METALS)
    check_etag("ladder-3", METALS)

    with pytest.raises(EtagStale) as caught:
        check_etag("ladder-2", METALS)

    assert caught.value.metadata == {"etag": "ladder-3"}


def test_tiers_that_are_not_kept_are_taken_out() -> None:
    assert taken_out(METALS, ladder_of(tier_of("gold", 9))) == ("silver",)
    assert taken_out(METALS, METALS) == ()


def test_a_ladder_survives_being_stored() -> None:
    ladder = Ladder(
        "status",
        (
            Tier("bronze", "Bronze"),
            Tier(
                "silver",
                "Silver",
                (Criterion(SPEND, 250), Criterion(VISITS, 5)),
                Match.ANY,
                Decimal("1.5"),
                ("A lounge", "Ünïcode"),
            ),
        ),
        "Status",
        7,
    )

    assert ladder_from_json("status", 7, ladder_to_json(ladder)) == ladder

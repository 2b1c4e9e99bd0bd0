"""`EarningService`: what events are worth, version after version."""

import asyncio
from typing import Any

import pytest

from loyalty.ledger.v1 import program_pb2
from loyalty.rules.v1 import earning_pb2
from tests.ledger.programs_kit import refusal
from tests.rules.kit import PROGRAM, Suite, event, purchase

Rule = earning_pb2.EarningRule


def points(**changes: int | None) -> Any:
    return earning_pb2.SetEventPointsRequest(
        program=PROGRAM,
        event_points=[
            earning_pb2.EventPoints(type=name, points=value) for name, value in changes.items()
        ],
    )


async def listed(served: Suite, category: Any = 0) -> Any:
    return await served.rules.earning.ListEventTypes(
        earning_pb2.ListEventTypesRequest(program=PROGRAM, category=category)
    )


async def test_a_new_program_has_the_defaults(served: Suite) -> None:
    found = await listed(served)

    assert len(found.event_types) == 25
    assert (found.ruleset, found.etag) == (0, "ruleset-0")
    assert not any(each.HasField("custom_points") for each in found.event_types)
    assert [each.type for each in (await listed(served, earning_pb2.EventType.DRAW)).event_types]


async def test_points_are_set_for_many_types_at_once(served: Suite) -> None:
    changed = await served.rules.earning.SetEventPoints(points(page_view=7, qr_scan=0, search=1))

    by_type = {each.type: each for each in changed.event_types}
    assert (by_type["page_view"].custom_points, by_type["page_view"].points) == (7, 7)
    assert (by_type["qr_scan"].custom_points, by_type["qr_scan"].default_points) == (0, 10)
    assert by_type["qr_scan"].HasField("custom_points")
    assert not by_type["search"].HasField("custom_points")
    assert changed.ruleset == 1

    back = await served.rules.earning.SetEventPoints(points(page_view=None))
    again = await served.rules.earning.SetEventPoints(points(page_view=None))

    assert {each.type: each.points for each in back.event_types}["page_view"] == 1
    assert (back.ruleset, again.ruleset) == (2, 2)


async def test_all_or_none_of_the_types_are_set(served: Suite) -> None:
    call = served.rules.earning.SetEventPoints(points(page_view=7, points_expired=3))

    assert (await refusal(call)).reason == "EVENT_TYPE_UNKNOWN"
    assert (await listed(served)).ruleset == 0


async def test_events_are_worth_what_was_set(served: Suite) -> None:
    await served.rules.earning.SetEventPoints(points(page_view=7, qr_scan=0))

    viewed = await served.rules.submit(event("e1", "page_view"))
    scanned = await served.rules.submit(event("e2", "qr_scan"))

    assert viewed.posting.entries[-1].points == 7
    assert not scanned.HasField("posting")
    assert (viewed.ruleset, scanned.ruleset) == (1, 1)


async def test_an_etag_that_was_not_read_now_is_refused(served: Suite) -> None:
    stale = points(page_view=7)
    stale.etag = "ruleset-4"

    refused = await refusal(served.rules.earning.SetEventPoints(stale))

    assert (refused.reason, refused.metadata) == ("ETAG_STALE", {"etag": "ruleset-0"})


async def test_a_rule_is_created_read_changed_and_deleted(served: Suite) -> None:
    earning = served.rules.earning
    created = await served.rules.rule("r1", minimum_amount="10", tier_rate=True)
    same = await served.rules.rule("r1", minimum_amount="10", tier_rate=True)
    read = await earning.GetEarningRule(
        earning_pb2.GetEarningRuleRequest(program=PROGRAM, rule="r1")
    )

    assert created == same == read
    assert (created.event_type, created.per_amount, created.rounding) == ("purchase", "1", 1)

    changed = await earning.UpdateEarningRule(
        earning_pb2.UpdateEarningRuleRequest(
            program=PROGRAM, rule="r1", earning_rule=Rule(display_name="One"), etag=created.etag
        )
    )

    assert (changed.display_name, changed.minimum_amount, changed.tier_rate) == ("One", "10", True)
    assert changed.etag != created.etag

    await earning.DeleteEarningRule(
        earning_pb2.DeleteEarningRuleRequest(program=PROGRAM, rule="r1", etag=changed.etag)
    )
    gone = earning.GetEarningRule(earning_pb2.GetEarningRuleRequest(program=PROGRAM, rule="r1"))

    assert (await refusal(gone)).reason == "EARNING_RULE_NOT_FOUND"


async def test_a_deleted_rule_earns_nothing_and_what_it_gave_stays(served: Suite) -> None:
    await served.rules.rule()
    await served.rules.submit(purchase("e1", amount="5"))
    await served.rules.earning.DeleteEarningRule(
        earning_pb2.DeleteEarningRuleRequest(program=PROGRAM, rule="base")
    )

    await served.rules.submit(purchase("e2", amount="5"))

    assert await served.numbers("m1") == (5, 1000, 1)
    assert (await served.rules.get("e1")).ruleset == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_rules_are_listed_by_id_page_by_page(served: Suite, size: int) -> None:
    for name in ("c", "a", "d", "b"):
        await served.rules.rule(name)
    names: list[str] = []
    token = ""
    while True:
        page = await served.rules.earning.ListEarningRules(
            earning_pb2.ListEarningRulesRequest(program=PROGRAM, page_size=size, page_token=token)
        )
        names += [each.rule for each in page.earning_rules]
        token = page.next_page_token
        if not token:
            break

    assert names == ["a", "b", "c", "d"]


async def test_a_currency_that_was_just_made_can_be_earned(served: Suite) -> None:
    await served.rules.rule("warm")
    await served.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(program=PROGRAM, currency_id="miles")
    )
    await served.rules.rule("miles", points="2", currency="miles")

    outcome = await served.rules.submit(purchase("e1", amount="5"))

    balances = {each.currency: each.available for each in outcome.account.balances}
    assert balances == {"points": 5, "miles": 10}


async def test_every_version_is_kept(served: Suite) -> None:
    await served.rules.rule("a")
    await served.rules.earning.SetEventPoints(points(page_view=7))
    await served.rules.rule("b")

    rows = await served.rows.fetch("SELECT version, actor FROM ruleset ORDER BY version")

    assert [tuple(row) for row in rows] == [(1, "tester"), (2, "tester"), (3, "tester")]


async def test_changes_at_once_are_versions_one_after_the_other(served: Suite) -> None:
    other = await served.start_rules()
    names = [f"r{n}" for n in range(12)]

    await asyncio.gather(*((served.rules, other)[n % 2].rule(name) for n, name in enumerate(names)))

    versions = await served.rows.fetch("SELECT version FROM ruleset ORDER BY version")
    assert [row["version"] for row in versions] == list(range(1, 13))
    rules = await other.earning.ListEarningRules(
        earning_pb2.ListEarningRulesRequest(program=PROGRAM)
    )
    assert [each.rule for each in rules.earning_rules] == sorted(names)


REFUSED: dict[str, tuple[str, Any, str]] = {
    "no such program": (
        "ListEventTypes",
        earning_pb2.ListEventTypesRequest(program="nowhere"),
        "PROGRAM_NOT_FOUND",
    ),
    "no such category": (
        "ListEventTypes",
        earning_pb2.ListEventTypesRequest(program=PROGRAM, category=99),  # type: ignore[arg-type]
        "INVALID_FIELD",
    ),
    "a type twice": (
        "SetEventPoints",
        earning_pb2.SetEventPointsRequest(
            program=PROGRAM, event_points=[earning_pb2.EventPoints(type="page_view", points=1)] * 2
        ),
        "INVALID_FIELD",
    ),
    "negative points": ("SetEventPoints", points(page_view=-1), "INVALID_FIELD"),
    "no types": ("SetEventPoints", points(), "INVALID_FIELD"),
    "no rule": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(program=PROGRAM, rule="r"),
        "INVALID_FIELD",
    ),
    "a rule without points": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program=PROGRAM, rule="r", earning_rule=Rule(display_name="x")
        ),
        "INVALID_FIELD",
    ),
    "points that are no number": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program=PROGRAM, rule="r", earning_rule=Rule(points="1e3")
        ),
        "INVALID_FIELD",
    ),
    "a rule for each nothing": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program=PROGRAM, rule="r", earning_rule=Rule(points="1", per_amount="0")
        ),
        "INVALID_FIELD",
    ),
    "a rule of a hidden type": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program=PROGRAM,
            rule="r",
            earning_rule=Rule(points="1", event_type="purchase_returned"),
        ),
        "EVENT_TYPE_UNKNOWN",
    ),
    "a rule in an unknown currency": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program=PROGRAM, rule="r", earning_rule=Rule(points="1", currency="gold")
        ),
        "CURRENCY_NOT_FOUND",
    ),
    "a rule of an unknown strategy": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program=PROGRAM, rule="r", earning_rule=Rule(points="1", expiry="soon")
        ),
        "EXPIRY_STRATEGY_NOT_FOUND",
    ),
    "a rule in an unknown program": (
        "CreateEarningRule",
        earning_pb2.CreateEarningRuleRequest(
            program="nowhere", rule="r", earning_rule=Rule(points="1")
        ),
        "PROGRAM_NOT_FOUND",
    ),
    "an unknown rule is changed": (
        "UpdateEarningRule",
        earning_pb2.UpdateEarningRuleRequest(
            program=PROGRAM, rule="r", earning_rule=Rule(points="1")
        ),
        "EARNING_RULE_NOT_FOUND",
    ),
    "an unknown rule is deleted": (
        "DeleteEarningRule",
        earning_pb2.DeleteEarningRuleRequest(program=PROGRAM, rule="r"),
        "EARNING_RULE_NOT_FOUND",
    ),
    "an invented page token": (
        "ListEarningRules",
        earning_pb2.ListEarningRulesRequest(program=PROGRAM, page_token="zzzz"),
        "INVALID_PAGE_TOKEN",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused(shared: Suite, case: str) -> None:
    method, request, reason = REFUSED[case]

    refused = await refusal(getattr(shared.rules.earning, method)(request))

    assert refused.reason == reason

"""Rules, tiers and ledger together: what a purchase brings, the tier after it included."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from loyalty.rules.v1 import events_pb2
from testkit.postgres import TestPostgres
from tests.rules.kit import START, RulesServer, Suite, purchase
from tests.tiers.kit import Tiers, metals, tiers_server


@pytest.fixture
async def real(postgres: TestPostgres, served: Suite) -> AsyncIterator[tuple[RulesServer, Tiers]]:
    """Rules that ask real tiers."""
    database = postgres.fresh("tiers")
    async with tiers_server(database, served.ledger.port) as tiers:
        served.tiers_port = tiers.port
        yield await served.start_rules(), tiers
    postgres.drop(database.name)


async def test_a_ladder_by_spend_can_be_made_once_a_rule_stands(
    real: tuple[RulesServer, Tiers],
) -> None:
    rules, tiers = real
    await rules.rule(tier_rate=True)

    created = await tiers.create_ladder(metals())

    assert [tier.tier for tier in created.tiers] == ["bronze", "silver", "gold"]


async def test_a_purchase_answers_with_the_tier_that_it_brings(
    real: tuple[RulesServer, Tiers],
) -> None:
    rules, tiers = real
    await rules.rule(tier_rate=True)
    await tiers.create_ladder(metals())

    first = await rules.submit(purchase("e1", amount="250"))
    second = await rules.submit(purchase("e2", amount="750"))
    third = await rules.submit(purchase("e3", amount="10"))

    tiers_after = [each.membership.tier.tier for each in (first, second, third)]
    assert tiers_after == ["silver", "gold", "gold"]
    assert third.account.balances[0].available == 250 + 1125 + 20
    assert first.membership.next.progress[0].missing == 75_000
    assert (await tiers.membership("m1")).tier.tier == "gold"


@pytest.mark.parametrize("tier_rate", [False, True])
async def test_a_batch_ends_where_its_events_one_by_one_end(
    served: Suite, real: tuple[RulesServer, Tiers], tier_rate: bool
) -> None:
    rules, tiers = real
    await served.create_program("p2")
    for program in ("p1", "p2"):
        await rules.rule(program=program, tier_rate=tier_rate)
        await tiers.create_ladder(metals(), program=program)
    events = [
        purchase(
            f"e{n}", f"m{n % 4}", amount=f"{60 + n}", when=START - timedelta(days=40 - n), store="s"
        )
        for n in range(40)
    ]

    for each in events:
        await rules.submit(each, "p1")
    results = await rules.batch(events, "p2")

    assert all(each.outcome.state == events_pb2.EventOutcome.DONE for each in results)
    for number in range(4):
        member = f"m{number}"
        assert await served.numbers(member, "p1") == await served.numbers(member, "p2")
        stands = [await tiers.membership(member, program=program) for program in ("p1", "p2")]
        assert stands[0].tier.tier == stands[1].tier.tier
        assert stands[0].next.progress == stands[1].next.progress


async def test_without_a_ladder_everybody_is_a_member(real: tuple[RulesServer, Tiers]) -> None:
    rules, _ = real
    await rules.rule(tier_rate=True)

    outcome = await rules.submit(purchase("e1", amount="10"))

    assert outcome.membership.tier.tier == "member"
    assert outcome.account.balances[0].available == 10

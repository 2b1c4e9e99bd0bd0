"""One event on its way: what is posted, what is answered, and why."""

from loyalty.rules.v1 import events_pb2
from tests.rules.kit import Suite, event, purchase

DONE = events_pb2.EventOutcome.DONE


async def test_a_purchase_earns_by_its_amount_and_is_counted(served: Suite) -> None:
    await served.rules.rule()

    outcome = await served.rules.submit(purchase("e1", amount="12.34"))

    assert outcome.state == DONE
    assert not outcome.replayed
    assert outcome.account.balances[0].available == 12
    assert outcome.membership.tier.tier == "bronze"
    assert await served.numbers("m1") == (12, 1234, 1)
    earned = outcome.posting.entries[1]
    assert (earned.points, earned.source.rule, earned.source.event) == (12, "base", "e1")
    assert (earned.source.value.amount, earned.source.rate) == ("12.34", "1")
    assert (earned.source.rounding, earned.source.ruleset) == ("FLOOR", 1)
    assert [(step.rule, step.applied, step.points) for step in outcome.trace] == [
        ("points:purchase", False, 0),
        ("base", True, 12),
        ("count:spend", True, 1234),
        ("count:visits", True, 1),
    ]


async def test_an_event_earns_its_points(served: Suite) -> None:
    outcome = await served.rules.submit(event("e1", "qr_scan"))

    assert outcome.account.balances[0].available == 10
    assert outcome.posting.entries[1].source.rule == "points.qr_scan"


async def test_the_same_event_again_is_answered_with_the_original(served: Suite) -> None:
    first = await served.rules.submit(purchase("e1"))

    again = await served.rules.submit(purchase("e1"))

    assert again.replayed
    assert again.posting == first.posting
    assert again.trace == first.trace
    assert await served.numbers("m1") == (0, 1234, 1)

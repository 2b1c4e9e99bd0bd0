"""Where members stand: evaluated, asked, and what is told of it."""

from loyalty.tiers.v1 import tiers_pb2
from tests.tiers.kit import LedgerServer, Tiers, metals

Cause = tiers_pb2.MembershipChange.Cause


async def test_a_member_rises_when_it_is_evaluated(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)

    before = await quiet.membership("m1")
    evaluated = await quiet.evaluate("m1")
    after = await quiet.membership("m1")
    history = await quiet.history("m1")

    assert before.tier.tier == "bronze"
    assert (evaluated.tier.tier, evaluated.tier.earning_rate) == ("silver", "1.5")
    assert list(evaluated.tier.benefits) == ["A lounge"]
    assert after.tier.tier == "silver"
    assert after.since == evaluated.read_time
    assert after.next.tier == "gold"
    assert [(each.value, each.missing) for each in after.next.progress] == [(30_000, 70_000)]
    assert [(each.cause, each.from_tier, each.to_tier) for each in history] == [
        (Cause.UPGRADED, "bronze", "silver"),
        (Cause.ENROLLED, "", "bronze"),
    ]
    assert [each.value for each in history[0].progress] == [30_000]

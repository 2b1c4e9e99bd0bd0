"""Evaluations at the same time, by several tasks and several processes' servers."""

import asyncio
import random

import pytest

from loyalty.tiers.v1 import tiers_pb2
from services.tiers.domain.membership import Reading
from services.tiers.operations.memberships import load
from services.tiers.operations.settle import Evaluation, LadderMoved, settle
from services.tiers.store.connections import writing
from services.tiers.store.ladders import Program
from services.tiers.store.memberships import Key
from testkit.postgres import TestDatabase
from tests.tiers.kit import LedgerServer, Tiers, criterion, metals, refusal, tier, tiers_server


def stairs(steps: int) -> tiers_pb2.Ladder:
    """A tier for every whole number of spend."""
    upper = [tier(f"t{number}", criterion(number)) for number in range(1, steps + 1)]
    return tiers_pb2.Ladder(tiers=[tier("t0"), *upper])


async def test_evaluations_of_one_member_at_once_give_one_change_each(
    tiers_database: TestDatabase, ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(stairs(6))
    async with tiers_server(tiers_database, ledger_server.port, following=False) as second:
        for _ in range(6):
            await ledger_server.count("m1", 1)
            await asyncio.gather(
                *(each.evaluate("m1") for _ in range(3) for each in (quiet, second))
            )

    history = await quiet.history("m1")

    assert [(each.from_tier, each.to_tier) for each in reversed(history)] == [
        ("", "t0"),
        *((f"t{number}", f"t{number + 1}") for number in range(6)),
    ]


async def test_counting_and_evaluating_at_once_ends_on_the_tier_reached(
    tiers_database: TestDatabase, ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(stairs(12))
    async with tiers_server(tiers_database, ledger_server.port, following=False) as second:

        async def buy(tiers: Tiers) -> None:
            await ledger_server.count("m1", 1)
            await tiers.evaluate("m1")

        await asyncio.gather(*(buy(each) for _ in range(6) for each in (quiet, second)))
    moves = [(each.from_tier, each.to_tier) for each in reversed(await quiet.history("m1"))]

    assert moves[0] == ("", "t0")
    assert moves[-1][1] == "t12"
    assert [before for before, _ in moves[1:]] == [after for _, after in moves[:-1]]


async def test_batches_that_overlap_in_any_order_all_succeed(
    tiers_database: TestDatabase, ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(stairs(3))
    members = [f"m{number}" for number in range(40)]
    draw = random.Random(7)
    async with tiers_server(tiers_database, ledger_server.port, following=False) as second:
        for _ in range(3):
            await asyncio.gather(*(ledger_server.count(member, 1) for member in members))
            requests = [
                tiers_pb2.BatchEvaluateMembersRequest(
                    program="p1", members=draw.sample(members, 30)
                )
                for _ in range(8)
            ]
            await asyncio.gather(
                *(
                    each.stub.BatchEvaluateMembers(request)
                    for request in requests
                    for each in (quiet, second)
                )
            )
        await quiet.stub.BatchEvaluateMembers(
            tiers_pb2.BatchEvaluateMembersRequest(program="p1", members=members)
        )
    doubled = await quiet.rows.fetch(
        "SELECT member, to_tier FROM change WHERE member IS NOT NULL"
        " GROUP BY member, to_tier HAVING count(*) > 1"
    )
    heads = await quiet.rows.fetch(
        "SELECT h.bucket, h.sequence, count(c.bucket), coalesce(max(c.sequence), 0) AS top"
        " FROM head h LEFT JOIN change c USING (bucket) GROUP BY h.bucket, h.sequence"
    )

    assert {await quiet.stored_tier(member) for member in members} == {"t3"}
    assert doubled == []
    assert all(sequence == count == top for _, sequence, count, top in heads)


async def test_nobody_rises_to_a_tier_that_was_taken_out_meanwhile(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    context, program = quiet.context, Program("acme", "p1")
    ladder, _ = await load(context, program, ["m1"])
    now = context.clock()
    read = Reading(now, dict.fromkeys(ladder.windows(), 30_000), now)
    key = Key(context.bucket("acme", "m1"), "acme", "p1", ladder.id, "m1")
    without = tiers_pb2.Ladder(tiers=[metals().tiers[0], metals().tiers[2]])
    await quiet.stub.UpdateLadder(
        tiers_pb2.UpdateLadderRequest(program="p1", ladder="status", changes=without)
    )

    with pytest.raises(LadderMoved):
        async with writing(context.writes) as connection:
            await settle(context, connection, {key: Evaluation(ladder, None, (read,))}, now)

    assert await quiet.stored_tier("m1") is None


async def test_changing_a_ladder_and_evaluating_at_once_leaves_no_one_beside_it(
    tiers_database: TestDatabase, ledger_server: LedgerServer, quiet: Tiers
) -> None:
    """Whoever comes first wins: silver is taken out, or in use; never both."""
    await quiet.create_ladder(metals())
    without = tiers_pb2.Ladder(tiers=[metals().tiers[0], metals().tiers[2]])
    request = tiers_pb2.UpdateLadderRequest(program="p1", ladder="status", changes=without)
    outcomes = set()
    async with tiers_server(tiers_database, ledger_server.port, following=False) as second:
        for number in range(12):
            member = f"m{number}"
            program = f"race-{number}"
            await ledger_server.create_program(program)
            await quiet.create_ladder(metals(), program=program)
            await ledger_server.count(member, 30_000, program=program)
            request.program = program

            async def change(changing: tiers_pb2.UpdateLadderRequest) -> str:
                try:
                    return (await refusal(second.stub.UpdateLadder(changing))).reason
                except AssertionError:
                    return "changed"

            reason, evaluated = await asyncio.gather(
                change(request), quiet.evaluate(member, program=program)
            )
            stored = await quiet.stored_tier(member, program=program)
            outcomes.add(reason)

            assert (reason, evaluated.tier.tier, stored) in {
                ("changed", "bronze", "bronze"),
                ("TIER_IN_USE", "silver", "silver"),
            }
    print(f"outcomes met: {sorted(outcomes)}")

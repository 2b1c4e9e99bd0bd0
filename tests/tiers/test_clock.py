"""The tiers' part of a sandbox's time."""

from loyalty.common.v1 import clock_pb2
from testkit.postgres import TestDatabase
from tests.tiers.kit import LedgerServer, Tiers, at, metals, refusal, tiers_server


async def test_catching_up_waits_for_everything_recorded_before(
    ledger_server: LedgerServer, tiers: Tiers
) -> None:
    await ledger_server.create_program("box", sandbox=True, start_time=at(2026))
    await tiers.create_ladder(metals(), program="box")
    for number in range(50):
        await ledger_server.count(f"m{number}", 30_000, program="box")

    answer = await tiers.clock.CatchUp(clock_pb2.CatchUpRequest(program="box", time=at(2026)))
    tiers_of = {await tiers.stored_tier(f"m{number}", program="box") for number in range(50)}

    assert answer.time == at(2026)
    assert 0 <= answer.done <= 100
    assert tiers_of == {"silver"}


async def test_catching_up_asks_whoever_follows(
    tiers_database: TestDatabase, ledger_server: LedgerServer, tiers: Tiers
) -> None:
    await ledger_server.create_program("box", sandbox=True, start_time=at(2026))
    await tiers.create_ladder(metals(), program="box")
    async with tiers_server(tiers_database, ledger_server.port, following=False) as second:
        await ledger_server.count("m1", 30_000, program="box")
        await second.clock.CatchUp(clock_pb2.CatchUpRequest(program="box", time=at(2026)))

        assert await second.stored_tier("m1", program="box") == "silver"


async def test_who_waits_for_a_follower_that_is_away_waits_until_the_deadline(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await ledger_server.create_program("box", sandbox=True, start_time=at(2026))
    await ledger_server.count("m1", 1, program="box")
    request = clock_pb2.CatchUpRequest(program="box", time=at(2026))

    refused = await refusal(quiet.clock.CatchUp(request, timeout=1.0))

    assert refused.reason == "DEADLINE_PASSED"


async def test_nothing_falls_due(ledger_server: LedgerServer, quiet: Tiers) -> None:
    await ledger_server.create_program("box", sandbox=True, start_time=at(2026))
    request = clock_pb2.GetNextDueRequest

    due = await quiet.clock.GetNextDue(request(program="box"))
    plain = await refusal(quiet.clock.GetNextDue(request(program="p1")))
    unknown = await refusal(quiet.clock.GetNextDue(request(program="none")))
    catching = await refusal(
        quiet.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2026)))
    )

    assert not due.HasField("time")
    assert (plain.reason, catching.reason) == ("NOT_SANDBOX", "NOT_SANDBOX")
    assert unknown.reason == "PROGRAM_NOT_FOUND"

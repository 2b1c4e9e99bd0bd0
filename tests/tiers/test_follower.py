"""Following the ledger: postings that nobody evaluated, each applied exactly once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.resources_pb2 import CounterWindow
from loyalty.tiers.v1 import tiers_pb2
from services.tiers.jobs.follow_ledger import Follower
from services.tiers.operations import apply_postings, settle
from services.tiers.store import followed
from services.tiers.store.followed import CursorsMoved
from testkit.postgres import TestDatabase
from tests.tiers.kit import (
    LedgerServer,
    Tiers,
    at,
    criterion,
    eventually,
    metals,
    refusal,
    tier,
    tiers_server,
)


async def stands_on(tiers: Tiers, member: str, name: str, program: str = "p1") -> None:
    async def check() -> bool:
        return await tiers.stored_tier(member, program=program) == name

    await eventually(check)


async def caught_up(tiers: Tiers, ledger: LedgerServer) -> None:
    """Wait until everything that the ledger recorded by now is applied."""
    context = tiers.context
    wanted = await context.ledger.end_of_stream({}, context.credentials.following())

    async def check() -> bool:
        cursors = await apply_postings.load_cursors(context)
        return all(cursors.get(bucket, 0) >= sequence for bucket, sequence in wanted.items())

    await eventually(check)


async def test_members_rise_without_being_evaluated(
    ledger_server: LedgerServer, tiers: Tiers
) -> None:
    ladder = metals()
    ladder.tiers[2].criteria.append(criterion(50, "points_earned:points"))
    ladder.tiers[2].match = tiers_pb2.Tier.ANY
    await tiers.create_ladder(ladder)

    await ledger_server.enrol("new")
    await ledger_server.count("spender", 30_000)
    await ledger_server.earn("earner", 50)

    await stands_on(tiers, "new", "bronze")
    await stands_on(tiers, "spender", "silver")
    await stands_on(tiers, "earner", "gold")
    history = await tiers.history("spender")
    assert [each.to_tier for each in history] == ["silver", "bronze"]


async def test_postings_that_move_no_counter_of_the_ladder_are_passed_over(
    ledger_server: LedgerServer, quiet: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is asked only about members who could rise."""
    await quiet.create_ladder(metals())
    await ledger_server.enrol("m1")
    await ledger_server.count("top", 100_000)
    await quiet.evaluate("m1")
    await quiet.evaluate("top")
    follower = Follower(quiet.context)
    await drain(follower, quiet, ledger_server)
    asked: list[str] = []
    accounts = quiet.context.ledger.accounts

    async def watched(program: str, members: Sequence[str], *args: Any, **named: Any) -> Any:
        asked.extend(members)
        return await accounts(program, members, *args, **named)

    monkeypatch.setattr(quiet.context.ledger, "accounts", watched)
    await ledger_server.earn("m1", 10)
    await ledger_server.count("m1", 1, counter="visits")
    await ledger_server.count("top", 5)
    await drain(follower, quiet, ledger_server)
    assert asked == []

    await ledger_server.count("m1", 5)
    await drain(follower, quiet, ledger_server)

    assert asked == ["m1"]


async def drain(follower: Follower, tiers: Tiers, ledger: LedgerServer) -> int:
    """Apply what the ledger has by now, page by page; answers how many pages there were."""
    pages = 0
    call = ledger.points.WatchChanges(
        ledger_pb2.WatchChangesRequest(cursors=dict(await follower.load()))
    )
    async for response in call:
        if response.changes:
            await follower.apply(response.changes, dict(response.cursors))
            pages += 1
        if response.HasField("current_time"):
            break
    call.cancel()
    return pages


async def test_a_rise_does_not_count_from_before_the_posting_that_it_rests_on(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    """Who follows a posting may read numbers in which a later one is already counted."""
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 10_000)
    call = ledger_server.points.WatchChanges(ledger_pb2.WatchChangesRequest())
    seen: list[resources_pb2.Change] = []
    async for response in call:
        seen += response.changes
        if response.HasField("current_time"):
            break
    call.cancel()
    await ledger_server.count("m1", 30_000)
    follower = Follower(quiet.context)
    await follower.load()
    await follower.apply(seen, {each.bucket: each.sequence for each in seen})
    entries = await ledger_server.points.ListEntries(
        ledger_pb2.ListEntriesRequest(program="p1", member="m1", page_size=1)
    )
    risen, _ = await quiet.history("m1")
    later = entries.entries[0].effective_time

    assert entries.entries[0].counter_change == 30_000
    assert risen.to_tier == "silver"
    assert risen.effective_time.ToNanoseconds() >= later.ToNanoseconds()


async def test_a_follower_that_dies_anywhere_applies_everything_once(
    ledger_server: LedgerServer, quiet: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before, within and after the transaction that has effect and cursors."""
    await quiet.create_ladder(metals())
    for number in range(6):
        await ledger_server.count(f"m{number}", 30_000)
    real_settle, real_move = settle.settle, followed.move_cursors

    class Killed(Exception):
        pass

    async def dies(*_: object, **__: object) -> None:
        raise Killed

    async def settles_and_dies(*args: Any) -> None:
        await real_settle(*args)
        raise Killed

    async def moves_and_dies(*args: Any) -> None:
        await real_move(*args)
        raise Killed

    for target, name, replacement in (
        (apply_postings, "_evaluations", dies),
        (followed, "move_cursors", moves_and_dies),
        (apply_postings, "settle", settles_and_dies),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(target, name, replacement)
            with pytest.raises(Killed):
                await drain(Follower(quiet.context), quiet, ledger_server)
        assert await apply_postings.load_cursors(quiet.context) == {}
        assert await quiet.stored_tier("m1") is None

    await drain(Follower(quiet.context), quiet, ledger_server)
    # A follower that was killed after its commit begins at the stored cursors.
    again = await drain(Follower(quiet.context), quiet, ledger_server)
    changes = await quiet.rows.fetchval("SELECT count(*) FROM change WHERE member IS NOT NULL")

    assert again == 0
    assert {await quiet.stored_tier(f"m{number}") for number in range(6)} == {"silver"}
    assert changes == 12


async def test_only_one_of_two_followers_moves_a_cursor(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    first, second = Follower(quiet.context), Follower(quiet.context)
    await second.load()
    await drain(first, quiet, ledger_server)
    moved = await apply_postings.load_cursors(quiet.context)

    with pytest.raises(CursorsMoved):
        await second.apply((), moved)


async def test_another_process_takes_its_turn_when_the_follower_is_gone(
    tiers_database: TestDatabase, ledger_server: LedgerServer
) -> None:
    async with tiers_server(tiers_database, ledger_server.port) as second:
        async with tiers_server(tiers_database, ledger_server.port) as first:
            await first.create_ladder(metals())
            await ledger_server.count("m1", 30_000)
            await stands_on(first, "m1", "silver")
        await ledger_server.count("m1", 70_000)
        await stands_on(second, "m1", "gold")
        history = await second.history("m1")

    assert [each.to_tier for each in history] == ["gold", "silver", "bronze"]


async def test_a_turn_that_is_lost_with_its_connection_is_taken_again(
    ledger_server: LedgerServer, tiers: Tiers, postgres: Any, tiers_database: TestDatabase
) -> None:
    await tiers.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await stands_on(tiers, "m1", "silver")
    superuser = await asyncpg.connect(postgres.server.dsn(tiers_database.name))
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await superuser.close()

    await ledger_server.count("m1", 70_000)

    await stands_on(tiers, "m1", "gold")


async def test_without_the_ledger_stored_standings_are_answered_and_it_is_caught_up_with(
    ledger_server: LedgerServer, tiers: Tiers
) -> None:
    await tiers.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await tiers.evaluate("m1")
    await ledger_server.count("m1", 70_000)
    await ledger_server.count("late", 30_000)
    await ledger_server.stop()
    stub, request = tiers.stub, tiers_pb2.GetMembershipRequest(program="p1", member="m1")

    refused = [
        await refusal(stub.GetMembership(request)),
        await refusal(stub.EvaluateMember(member_request())),
        await refusal(
            stub.BatchGetMemberships(
                tiers_pb2.BatchGetMembershipsRequest(program="p1", members=["m1"])
            )
        ),
        await refusal(
            stub.CreateLadder(
                tiers_pb2.CreateLadderRequest(program="p2", ladder_id="l", ladder=metals())
            )
        ),
    ]
    brief = await stub.BatchGetMemberships(
        tiers_pb2.BatchGetMembershipsRequest(program="p1", members=["m1"], brief=True)
    )
    ladder = await stub.GetLadder(tiers_pb2.GetLadderRequest(program="p1", ladder="status"))
    await ledger_server.start()

    assert {(each.reason, each.metadata["dependency"]) for each in refused} == {
        ("DEPENDENCY_UNAVAILABLE", "ledger")
    }
    assert brief.memberships[0].tier.tier in {"silver", "gold"}
    assert not brief.memberships[0].HasField("read_time")
    assert ladder.version == 1
    await stands_on(tiers, "m1", "gold")
    await stands_on(tiers, "late", "silver")


def member_request(member: str = "m1") -> tiers_pb2.EvaluateMemberRequest:
    return tiers_pb2.EvaluateMemberRequest(program="p1", member=member)


async def test_who_follows_late_reads_windows_as_of_the_posting(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    start = at(2026, 12, 31)
    await ledger_server.create_program("box", sandbox=True, start_time=start)
    year = criterion(100, period=CounterWindow.YEAR)
    await quiet.create_ladder(
        tiers_pb2.Ladder(tiers=[tier("bronze"), tier("silver", year)]), program="box"
    )
    await ledger_server.count("m1", 100, program="box")
    await ledger_server.count("m2", 99, program="box")
    await advance(ledger_server, at(2027, 1, 2))
    await ledger_server.count("m2", 1, program="box")
    await ledger_server.count("m3", 100, program="box")

    await drain(Follower(quiet.context), quiet, ledger_server)
    history = await quiet.history("m1", program="box")
    late = await quiet.history("m3", program="box")

    assert await quiet.stored_tier("m1", program="box") == "silver"
    assert await quiet.stored_tier("m2", program="box") == "bronze"
    assert history[0].effective_time == start
    assert late[0].effective_time == at(2027, 1, 2)


async def advance(ledger: LedgerServer, time: Any) -> None:
    await ledger.programs.AdvanceClock(program_pb2.AdvanceClockRequest(program="box", time=time))


async def test_following_and_evaluating_at_once_tell_every_change_once(
    ledger_server: LedgerServer, tiers: Tiers
) -> None:
    upper = [tier(f"t{number}", criterion(number)) for number in range(1, 6)]
    await tiers.create_ladder(tiers_pb2.Ladder(tiers=[tier("t0"), *upper]))
    members = [f"m{number}" for number in range(10)]

    async def buy(member: str) -> None:
        for _ in range(5):
            await ledger_server.count(member, 1)
            await tiers.evaluate(member)

    await asyncio.gather(*(buy(member) for member in members))
    await caught_up(tiers, ledger_server)
    for member in members:
        history = await tiers.history(member)
        moves: Mapping[str, str] = {each.from_tier: each.to_tier for each in history}

        assert len(moves) == len(history)
        assert history[0].to_tier == "t5"
        assert all(
            after.effective_time.ToDatetime() - before.effective_time.ToDatetime() >= timedelta(0)
            for after, before in pairwise(history)
        )


async def test_many_postings_are_caught_up_with_in_few_transactions(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    requests = [
        ledger_pb2.PostRequest(
            member=f"m{number % 300}",
            request_id=f"r{number}",
            operations=[
                ledger_pb2.Operation(count=ledger_pb2.CountOperation(counter="spend", value=10_000))
            ],
        )
        for number in range(3_000)
    ]
    for start in range(0, len(requests), 500):
        await ledger_server.points.BatchPost(
            ledger_pb2.BatchPostRequest(program="p1", requests=requests[start : start + 500])
        )
    follower = Follower(quiet.context)
    following = asyncio.create_task(follower.follow())
    await caught_up(quiet, ledger_server)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    steps = await quiet.rows.fetch(
        "SELECT to_tier, count(*), count(DISTINCT member) FROM change"
        " WHERE member IS NOT NULL GROUP BY to_tier ORDER BY to_tier"
    )

    assert [tuple(row) for row in steps] == [("bronze", 300, 300), ("gold", 300, 300)]

"""The stream of the tiers: gap-free, in commit order, of one organization or of all."""

import asyncio
from typing import Any

from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from testkit.keys import token
from testkit.postgres import TestDatabase
from testkit.servers import authorized_channel
from tests.tiers.kit import (
    BUCKETS,
    LedgerServer,
    Tiers,
    criterion,
    eventually,
    metals,
    tier,
    tiers_server,
)


async def read_all(
    stub: Any, cursors: dict[int, int] | None = None, buckets: tuple[int, ...] = ()
) -> tuple[list[tiers_pb2.Change], dict[int, int]]:
    """Everything behind the cursors until the first heartbeat, and the cursors after it."""
    found: list[tiers_pb2.Change] = []
    position = dict(cursors or {})
    call = stub.WatchChanges(tiers_pb2.WatchChangesRequest(cursors=position, buckets=buckets))
    async with asyncio.timeout(20):
        async for response in call:
            found += response.changes
            position.update(response.cursors)
            if response.HasField("current_time"):
                break
    call.cancel()
    return found, position


async def test_changes_have_no_gaps_and_arrive_in_sequence(
    tiers_database: TestDatabase, ledger_server: LedgerServer, quiet: Tiers
) -> None:
    upper = [tier(f"t{number}", criterion(number)) for number in range(1, 4)]
    await quiet.create_ladder(tiers_pb2.Ladder(tiers=[tier("t0"), *upper]))
    members = [f"m{number}" for number in range(30)]
    received: list[tiers_pb2.Change] = []

    async def follow() -> None:
        async for response in quiet.stub.WatchChanges(tiers_pb2.WatchChangesRequest()):
            received.extend(response.changes)

    following = asyncio.create_task(follow())
    async with tiers_server(tiers_database, ledger_server.port, following=False) as second:

        async def buy(member: str) -> None:
            for each in (quiet, second, quiet):
                await ledger_server.count(member, 1)
                await each.evaluate(member)

        await asyncio.gather(*(buy(member) for member in members))
    stored, cursors = await read_all(quiet.stub)

    async def arrived() -> bool:
        return len(received) >= len(stored)

    await eventually(arrived)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert len(stored) == 1 + 4 * len(members)
    assert set(cursors) == set(range(BUCKETS))
    for bucket in range(BUCKETS):
        sequences = [each.sequence for each in stored if each.bucket == bucket]
        live = [each.sequence for each in received if each.bucket == bucket]

        assert sequences == live == list(range(1, len(sequences) + 1))
        assert cursors[bucket] == len(sequences)


async def test_a_stream_goes_on_after_its_cursors(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    first, cursors = await read_all(quiet.stub)
    await ledger_server.count("m1", 30_000)
    await quiet.evaluate("m1")

    later, after = await read_all(quiet.stub, cursors)
    nothing, _ = await read_all(quiet.stub, after)
    bucket = later[0].bucket
    elsewhere, _ = await read_all(quiet.stub, cursors, ((bucket + 1) % BUCKETS,))

    assert [each.WhichOneof("fact") for each in first] == ["ladder_changed"]
    assert first[0].ladder_changed.tiers[1].tier == "silver"
    assert [each.membership_changed.to_tier for each in later] == ["bronze", "silver"]
    assert [each.value for each in later[1].membership_changed.progress] == [30_000]
    assert (later[0].organization, later[0].program) == ("acme", "p1")
    assert nothing == []
    assert elsewhere == []


async def test_a_service_sees_all_organizations_and_others_their_own(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    plain = token(scopes={"changes:read"})
    service = token(organization="-", scopes={"changes:read", "service"})
    stranger = token(organization="globex", scopes={"changes:read"})
    async with (
        authorized_channel(quiet.port, plain) as own,
        authorized_channel(quiet.port, service) as job,
        authorized_channel(quiet.port, stranger) as other,
    ):
        mine, _ = await read_all(TierServiceStub(own))
        every, _ = await read_all(TierServiceStub(job))
        none, cursors = await read_all(TierServiceStub(other))

    assert [each.organization for each in mine] == ["acme"]
    assert every == mine
    assert none == []
    assert sum(cursors.values()) == 1


async def test_pages_are_bounded_and_lose_nothing(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await quiet.rows.execute(
        "INSERT INTO change SELECT 0, n, 'acme', 'p1', now(), 'status', 1, 'm' || n, '', 'bronze',"
        " 1, now(), '{}' FROM generate_series((SELECT sequence FROM head WHERE bucket = 0) + 1,"
        " 1700) n"
    )
    await quiet.rows.execute("UPDATE head SET sequence = 1700 WHERE bucket = 0")
    sizes: list[int] = []
    sequences: list[int] = []
    call = quiet.stub.WatchChanges(tiers_pb2.WatchChangesRequest(buckets=[0]))
    async for response in call:
        sizes.append(len(response.changes))
        sequences += [each.sequence for each in response.changes]
        if response.HasField("current_time"):
            break
    call.cancel()

    assert max(sizes) <= 500
    assert sequences == list(range(1, 1701))

"""What a process remembers of programs, and the number of buckets of a database."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from chassis.buckets import BucketsDiffer, ensure_buckets
from chassis.database import Pools, open_pools
from kernel.refusals import ProgramNotFound
from loyalty.ledger.v1 import program_pb2
from services.ledger.store.programs import ProgramCache, program_of
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest


@pytest.fixture
async def pools(ledger_database: TestDatabase) -> AsyncIterator[Pools]:
    opened = await open_pools(ledger_database.dsn, 2, 2)
    yield opened
    await opened.close()


async def change(ledger: LedgerUnderTest, daily_cap: int) -> None:
    """One more revision of `p1`."""
    await ledger.programs.UpdateProgramSettings(
        program_pb2.UpdateProgramSettingsRequest(
            program="p1",
            settings=program_pb2.ProgramSettings(
                points=program_pb2.PointsSettings(daily_cap=daily_cap)
            ),
        )
    )


async def test_the_state_is_always_fresh_and_snapshots_are_kept(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    before = await ledger.cache.get("acme", "p1")
    await change(ledger, 7)
    after = await ledger.cache.get("acme", "p1")

    assert (before.revision, before.config.daily_cap) == (1, None)
    assert (after.revision, after.config.daily_cap) == (2, 7)
    assert ledger.cache.cached(after.key, 1) is before.config
    assert await ledger.cache.config(after.key, 2) is after.config


async def test_a_snapshot_is_loaded_once_and_the_least_used_forgotten(
    ledger: LedgerUnderTest, pools: Pools
) -> None:
    await ledger.create_program("p1")
    for cap in range(3):
        await change(ledger, cap)
    key = (await ledger.cache.identity("acme", "p1")).key
    cache = ProgramCache(pools.reads, snapshots_max=2)

    first = await cache.config(key, 1)
    await cache.config(key, 2)
    again = await cache.config(key, 1)
    await cache.config(key, 3)

    assert first is again
    assert [cache.cached(key, revision) is not None for revision in (1, 2, 3)] == [
        True,
        False,
        True,
    ]
    with pytest.raises(LookupError):
        await cache.config(key, 99)


async def test_identities_are_remembered_and_absence_is_not(ledger: LedgerUnderTest) -> None:
    with pytest.raises(ProgramNotFound):
        await ledger.cache.identity("acme", "p1")
    await ledger.create_program("p1", sandbox=True)

    found = await ledger.cache.identity("acme", "p1")

    assert (found.organization, found.id, found.sandbox) == ("acme", "p1", True)
    assert await ledger.cache.identity("acme", "p1") is found
    with pytest.raises(ProgramNotFound):
        await ledger.cache.identity("rival", "p1")


async def test_a_program_is_read_by_a_pool_or_a_connection(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    by_pool = await program_of(ledger.rows, "acme", "p1")
    async with ledger.rows.acquire(timeout=5) as connection:
        by_connection = await program_of(connection, "acme", "p1")

    assert by_pool == by_connection
    with pytest.raises(ProgramNotFound):
        await program_of(ledger.rows, "acme", "p2")


async def test_the_number_of_buckets_is_stated_once_and_checked(pools: Pools) -> None:
    async with pools.lanes.acquire(timeout=5) as connection:
        await ensure_buckets(connection, 16)
        await connection.execute("UPDATE head SET sequence = 5 WHERE bucket = 3")

        await ensure_buckets(connection, 16)
        with pytest.raises(BucketsDiffer, match="16 buckets, the settings say 32"):
            await ensure_buckets(connection, 32)
        heads = await connection.fetch("SELECT bucket, sequence FROM head ORDER BY bucket")

    assert [head["bucket"] for head in heads] == list(range(16))
    assert [head["sequence"] for head in heads if head["sequence"]] == [5]


async def test_heads_are_numbered_from_0_to_buckets_less_1(pools: Pools) -> None:
    async with pools.lanes.acquire(timeout=5) as connection:
        await ensure_buckets(connection, 1)
        heads: list[asyncpg.Record] = await connection.fetch("SELECT * FROM head")

    assert [tuple(head) for head in heads] == [(0, 0)]

"""A lane's connection, and the transactions that begin with the commit before them."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import asyncpg
import pytest

from chassis import database
from chassis.database import Connection, Pools, open_pools
from services.ledger.store.sessions import CONNECTION_LOST, Session

STATE = "SELECT state FROM pg_stat_activity WHERE pid = $1"


@pytest.fixture
async def pools(ledger_dsn: str) -> AsyncIterator[Pools]:
    opened = await open_pools(ledger_dsn, 1, 1)
    yield opened
    await opened.close()


@pytest.fixture
async def watcher(ledger_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(ledger_dsn)
    yield connection
    await connection.close()


async def test_a_commit_begins_the_next_transaction_and_rest_ends_it(
    pools: Pools, watcher: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    session = Session(pools.lanes)
    connection = await session.begin()
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    await connection.execute("INSERT INTO fact (name, value) VALUES ('first', '1')")
    await session.commit()

    assert await watcher.fetchval("SELECT value FROM fact WHERE name = 'first'") == "1"
    assert await watcher.fetchval(STATE, backend) == "idle in transaction"

    await session.rest()

    assert await watcher.fetchval(STATE, backend) == "idle"

    connection = await session.begin()
    await connection.execute("INSERT INTO fact (name, value) VALUES ('second', '2')")
    await session.rollback()
    connection = await session.begin()
    await connection.execute("INSERT INTO fact (name, value) VALUES ('third', '3')")
    await session.commit()
    await session.close()

    assert await watcher.fetchval("SELECT count(*) FROM fact WHERE name = 'second'") == 0
    assert await watcher.fetchval("SELECT value FROM fact WHERE name = 'third'") == "3"


async def test_a_transaction_that_failed_is_not_taken_for_committed(pools: Pools) -> None:
    session = Session(pools.lanes)
    connection = await session.begin()
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(RuntimeError, match="not committed"):
        await session.commit()

    connection = await session.begin()
    assert await connection.fetchval("SELECT 1") == 1
    await session.commit()
    await session.close()


async def test_a_connection_that_died_at_rest_disturbs_nobody(
    pools: Pools, watcher: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    session = Session(pools.lanes)
    backend = await (await session.begin()).fetchval("SELECT pg_backend_pid()")
    await session.commit()
    await watcher.execute("SELECT pg_terminate_backend($1, 5000)", backend)

    await session.rest()

    assert await (await session.begin()).fetchval("SELECT 1") == 1
    await session.close()


async def test_a_connection_that_died_between_transactions_is_replaced(
    pools: Pools, watcher: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    session = Session(pools.lanes)
    connection = await session.begin()
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    await session.commit()
    await watcher.execute("SELECT pg_terminate_backend($1, 5000)", backend)

    with pytest.raises(CONNECTION_LOST):
        await (await session.begin()).fetchval("SELECT 1")
    await session.rollback()

    assert await (await session.begin()).fetchval("SELECT 1") == 1
    await session.close()


PREPARE = """
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;
PREPARE lookup (int) AS SELECT * FROM head WHERE bucket = $1
"""

BY_INDEX = "Index Scan using head_pkey"


async def _planned(connection: Connection) -> str:
    rows = await connection.fetch("EXPLAIN (COSTS OFF) EXECUTE lookup (1)")
    return str(rows[0][0]).split(" on ")[0]


async def test_plans_are_made_anew_in_time(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=lambda: now))
    session = Session(pools.lanes)
    lane = await session.begin()
    async with pools.reads.acquire(timeout=5) as reader:
        for connection in (lane, reader):
            await connection.execute(PREPARE)
            assert await _planned(connection) == BY_INDEX
            await connection.execute("SET enable_seqscan = on; SET enable_indexscan = off")
    found = []
    # After a quarter of a second, and then after half a one.
    for now in (0.2, 0.25, 0.7, 0.75):
        await session.commit()
        async with pools.reads.acquire(timeout=5):
            pass
        async with pools.reads.acquire(timeout=5) as reader:
            for connection in (lane, reader):
                found.append(await _planned(connection) == BY_INDEX)
                if now == 0.25:
                    await connection.execute("SET enable_seqscan = off; SET enable_indexscan = on")
    await session.close()

    assert found == [True, True, False, False, False, False, True, True]

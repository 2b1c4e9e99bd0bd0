"""The job that posts what fell due: shared by processes, killed at will, and never stuck."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from chassis.database import open_pools
from services.ledger.jobs import settlement
from services.ledger.jobs.settlement import Settlement
from services.ledger.operations.environment import Environment
from services.ledger.operations.lanes import Lanes
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store.programs import ProgramCache
from testkit.postgres import TestDatabase, TestPostgres
from tests.load.book import Book, load

MEMBERS, LOTS = 400, 3
DUE = "SELECT count(*) FROM account WHERE next_due_time IS NOT NULL"
EXPIRED = """
SELECT count(*), count(DISTINCT (bucket, account)), sum(-points)
FROM entry WHERE kind = 7 AND available = 0
"""


@pytest.fixture
async def rows(
    postgres: TestPostgres, ledger_database: TestDatabase
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to a book of members whose lots all expired last month."""
    book = Book(MEMBERS, LOTS, due=True)
    await asyncio.to_thread(load, postgres.server.execute, ledger_database.name, book)
    connection = await asyncpg.connect(ledger_database.owner_dsn)
    yield connection
    await connection.close()


@asynccontextmanager
async def process(database: TestDatabase) -> AsyncIterator[Settlement]:
    """The job of one more process of the ledger."""
    pools = await open_pools(database.dsn, 2, 3)
    environment = Environment(ProgramCache(pools.reads), 64)
    lanes = Lanes(environment, pools.lanes, 2)
    lanes.start()
    try:
        yield Settlement(LedgerContext(environment, lanes, pools.reads))
    finally:
        await lanes.stop()
        await pools.close()


async def _finish(job: Settlement) -> int:
    settled = 0
    while more := await job.turn():
        settled += more
    return settled


async def test_processes_share_the_buckets_and_settle_every_account_once(
    ledger_database: TestDatabase, rows: Any
) -> None:
    async with AsyncExitStack() as stack:
        jobs = [await stack.enter_async_context(process(ledger_database)) for _ in range(3)]
        settled = await asyncio.gather(*(_finish(job) for job in jobs))

    # Nobody was at an account that another one had settled already.
    assert sum(settled) == MEMBERS
    assert sum(1 for each in settled if each) >= 2
    assert await rows.fetchval(DUE) == 0
    assert tuple(await rows.fetchrow(EXPIRED)) == (MEMBERS, MEMBERS, MEMBERS * LOTS * 5)
    assert await rows.fetchval("SELECT count(*) FROM lot WHERE open") == 0


async def test_what_a_killed_process_left_another_one_settles(
    ledger_database: TestDatabase, rows: Any
) -> None:
    async with process(ledger_database) as killed:
        turn = asyncio.create_task(killed.turn())
        while await rows.fetchval(DUE) == MEMBERS:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.005)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
    assert await rows.fetchval(DUE) > 0

    async with process(ledger_database) as job:
        await _finish(job)

    assert await rows.fetchval(DUE) == 0
    assert tuple(await rows.fetchrow(EXPIRED)) == (MEMBERS, MEMBERS, MEMBERS * LOTS * 5)


async def test_an_account_that_cannot_be_settled_keeps_no_other_waiting(
    ledger_database: TestDatabase, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "CHUNK_PER_BUCKET", 1)
    # A book that somebody spoilt: one lot has more than the balance does.
    await rows.execute("UPDATE lot SET points = 99, free = 99 WHERE account = 7 AND sequence = 1")

    async with process(ledger_database) as job:
        assert await _finish(job) == MEMBERS - 1

    assert await rows.fetchval(DUE) == 1

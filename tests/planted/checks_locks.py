"""Checks of what is locked, and in which order."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from kernel.ids import bucket_and_low
from loyalty.ledger.v1 import ledger_pb2
from tests.faults.ledger_books import Move, earn, new_program, send
from tests.properties.driver import Ledger
from tests.properties.ledger_process import Cluster
from tests.properties.model_shapes import Refused

LANES = 2
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
ROWS = "SELECT bucket, id FROM account WHERE program = $1 AND bucket % $2 = 0 ORDER BY bucket, id"
FREE = "SELECT id FROM account WHERE bucket = $1 AND id = $2 FOR UPDATE SKIP LOCKED"


def crowd(ledger: Ledger, program: str, count: int) -> dict[int, list[str]]:
    """Members of a program by the bucket that they are in."""
    by_bucket: dict[int, list[str]] = defaultdict(list)
    for number in range(count):
        answer = send([ledger], earn(program, f"m{number}", 1, "enrol"))
        assert not isinstance(answer, Refused), answer
        bucket, _ = bucket_and_low(uuid.UUID(answer.posting))
        by_bucket[bucket].append(f"m{number}")
    return by_bucket


def neighbours(ledger: Ledger, program: str) -> list[Move]:
    """Earnings by turns of two members whose changes are of the same stream.

    Who is in which one is the same in every program of an organization.
    """
    scout = new_program(ledger)
    two = next(some[:2] for some in crowd(ledger, scout, 66).values() if len(some) > 1)
    return [earn(program, two[number % 2], 1, f"r{number}") for number in range(300)]


def ordered(cluster: Cluster) -> None:
    """While somebody has the middle one of some accounts, a batch over all has those before it."""
    ledger = cluster.processes[0].connect()
    program = new_program(ledger)
    members = [name for some in crowd(ledger, program, 40).values() for name in some]
    request = ledger_pb2.BatchPostRequest(program=program)
    for name in reversed(members):
        post = request.requests.add(member=name, request_id="second")
        post.operations.add().earn.points = 1

    with ThreadPoolExecutor(2) as pool:

        def send_batch() -> None:
            pool.submit(ledger.call, ledger.ledger.BatchPost, request)

        watching = pool.submit(asyncio.run, _watch(cluster.database.owner_dsn, program, send_batch))
        before, after = watching.result(timeout=60)
    ledger.close()
    assert before == [False] * len(before), "an account before it was not locked first"
    assert after == [True] * len(after), "an account after it was locked too early"


async def _watch(
    dsn: str, program: str, send_batch: Callable[[], None]
) -> tuple[list[bool], list[bool]]:
    """Of the accounts of a lane before and after the one in the middle, which are free."""
    mine, other = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        key = await mine.fetchval("SELECT key FROM program WHERE id = $1", program)
        rows = await mine.fetch(ROWS, key, LANES)
        middle = len(rows) // 2
        async with mine.transaction(), other.transaction():
            held = await mine.fetchval(FREE, *rows[middle])
            assert held is not None
            send_batch()
            for _ in range(200):
                if await other.fetchval(WAITING):
                    break
                await asyncio.sleep(0.02)
            free = [await other.fetchval(FREE, *row) is not None for row in rows]
        return free[:middle], free[middle + 1 :]
    finally:
        await mine.close()
        await other.close()

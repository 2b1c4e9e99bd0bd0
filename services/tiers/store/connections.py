"""What operations hold and pass on of the database, without a word of SQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool

PASSING = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresConnectionError,
)
"""What may succeed when the transaction is done again."""

# Statements here join a few given keys to large tables. A plan that was made while the tables were
# small must not scan them when they are not.
_PLANS = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
SET LOCAL synchronous_commit = on
"""


@asynccontextmanager
async def writing(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction on a connection of the pool: committed at the end, rolled back by an error."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection, connection.transaction():
        await connection.execute(_PLANS)
        yield connection


@asynccontextmanager
async def reading(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool, for single statements that read."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        yield connection

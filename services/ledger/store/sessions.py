"""A lane's own connection, and its transactions."""

import asyncio
import contextlib
from typing import Final

import asyncpg

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, PlansAge, Pool
from services.ledger.store.packing import pack_columns

# The lane's statements join a few given keys to large tables. A plan that was made while the tables
# were small must not scan them when they are not; and one plan a statement is enough.
_SESSION = """
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan;
SET synchronous_commit = on
"""

ROLLBACK_SECONDS_MAX = 5.0

RETRIED: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
"""The database rolled a transaction back; the same transaction may succeed."""

CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    # What asyncpg says of a connection that died in the middle of an exchange.
    asyncpg.InternalClientError,
    OSError,
)
"""The connection broke, or there is none (a `TimeoutError` is an `OSError`)."""


class Session:
    """One connection of the pool, kept until it breaks.

    A commit begins the next transaction in the same round trip. Without a statement it holds
    nothing, and `rest` ends it when nothing follows soon.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None
        self._begun = False
        self._plans = PlansAge()

    async def begin(self) -> Connection:
        """Begin a transaction, on a new connection if there is none."""
        connection = self._connection
        if connection is None:
            connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
            self._connection = connection
            await connection.execute(_SESSION)
            pack_columns(connection)
            self._plans = PlansAge()
        if not self._begun:
            try:
                await connection.execute("BEGIN")
            except BaseException:
                await self._drop()
                raise
            self._begun = True
        return connection

    async def commit(self) -> None:
        """Commit. Where this raises, nobody knows yet whether it was committed.

        A transaction that had failed before, whoever kept that to himself, is rolled back by a
        COMMIT without an error: then this raises, too.
        """
        assert self._connection is not None
        discarding = "DISCARD PLANS; " if self._plans.over() else ""
        try:
            done = await self._connection.execute(f"{discarding}COMMIT AND CHAIN")
            if done != "COMMIT":
                raise RuntimeError("the transaction had failed and was not committed")
        except BaseException:
            await self._drop()
            raise

    async def rollback(self) -> None:
        """Roll back; a connection that cannot is given up, which rolls back too."""
        if self._connection is None:
            return
        self._begun = False
        try:
            async with asyncio.timeout(ROLLBACK_SECONDS_MAX):
                await self._connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - whatever broke it, the server rolls back
            await self._drop()

    async def rest(self) -> None:
        """Nothing is to be done for a while: end the transaction that a commit began."""
        if self._begun:
            await self.rollback()

    async def close(self) -> None:
        """Give the connection back."""
        await self.rest()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._pool.release(connection)  # type: ignore[arg-type]  # it came from acquire

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._begun = False
        if connection is not None:
            # The pool takes back by itself a connection that died while nothing was asked of it.
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()
            await self._pool.release(connection)  # type: ignore[arg-type]  # it came from acquire

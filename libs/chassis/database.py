"""Connections to Postgres: pools for the hot paths, an engine for everything else."""

import asyncio
import time
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# Quoted: asyncpg's classes are generic in its stubs only.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

ACQUIRE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 10_000
IDLE_TRANSACTION_TIMEOUT_MS = 15_000
PLANS_KEPT_S, PLANS_KEPT_S_MAX = 0.25, 300.0


class PlansAge:
    """How long a connection keeps the plans of its statements: a moment at first, minutes later.

    A plan that was made for a small table reads all of it, and would until somebody analyzes the
    table, however large it is by then. Each time they are kept twice as long: a table that grows at
    one pace has doubled by then.
    """

    def __init__(self) -> None:
        self._made = time.monotonic()
        self._kept = PLANS_KEPT_S

    def over(self) -> bool:
        """Whether to discard the plans now; where that is so, the next ones have just been made."""
        now = time.monotonic()
        if now - self._made < self._kept:
            return False
        self._made, self._kept = now, min(2 * self._kept, PLANS_KEPT_S_MAX)
        return True


@dataclass(frozen=True)
class Pools:
    """Two pools on one database, so that readers never keep a lane from its connection.

    Borrow with a time limit always: `async with pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S)`.
    `reads` refuses to write.
    """

    lanes: "asyncpg.Pool[asyncpg.Record]"
    reads: "asyncpg.Pool[asyncpg.Record]"

    async def close(self) -> None:
        """Close both, waiting for what is borrowed, by force after 10 seconds."""
        for pool in (self.lanes, self.reads):
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await pool.close()
            except TimeoutError:
                pool.terminate()


async def open_pools(dsn: str, lanes: int, reads: int) -> Pools:
    """Open a pool of `lanes` connections that write and one of up to `reads` that read.

    Raises what asyncpg raises where the database cannot be reached.
    """
    writing = await _open_pool(dsn, lanes, lanes, "loyalty lanes", read_only=False)
    try:
        reading = await _open_pool(dsn, min(1, reads), reads, "loyalty reads", read_only=True)
    except BaseException:
        writing.terminate()
        raise
    return Pools(writing, reading)


def engine(dsn: str, size: int = 4) -> AsyncEngine:
    """Answer an SQLAlchemy engine of at most `size` connections on a plain `postgresql://` address.

    Connecting is asyncpg's own, so an address means the same here and in a pool (`sslmode`, say).
    """

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"jit": "off"})

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=ACQUIRE_TIMEOUT_S,
        pool_pre_ping=True,
    )


async def _open_pool(
    dsn: str, least: int, most: int, name: str, *, read_only: bool
) -> "asyncpg.Pool[asyncpg.Record]":
    return await asyncpg.create_pool(
        dsn,
        min_size=least,
        max_size=most,
        timeout=CONNECT_TIMEOUT_S,
        max_inactive_connection_lifetime=0,
        reset=_Plans().renew,
        server_settings={
            "application_name": name,
            "jit": "off",
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_TRANSACTION_TIMEOUT_MS),
            "default_transaction_read_only": "on" if read_only else "off",
        },
    )


class _Plans:
    """The plans of a pool's connections, which are forgotten in time when one is given back.

    Nobody leaves anything else behind in a session, and the driver's own reset is a round trip.
    """

    def __init__(self) -> None:
        self._ages: WeakKeyDictionary[object, PlansAge] = WeakKeyDictionary()

    async def renew(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        age = self._ages.get(connection)
        if age is None:
            self._ages[connection] = PlansAge()
        elif age.over():
            await connection.execute("DISCARD PLANS")

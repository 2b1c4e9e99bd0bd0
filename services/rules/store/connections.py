"""What the statements here run on, and what a broken transaction means."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool

_Result = TypeVar("_Result")
_ATTEMPTS = 5


class Raced(Exception):
    """Somebody else wrote first what this transaction rests on; it begins again."""


async def transact(
    pool: Pool, work: Callable[[Connection], Awaitable[_Result]], *, durable: bool = True
) -> _Result:
    """Do `work` in one transaction, again where another one got in its way.

    Without `durable` a crash of the database may lose it: only for what is found out again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with (
                pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
                connection.transaction(),
            ):
                if not durable:
                    await connection.execute("SET LOCAL synchronous_commit = off")
                return await work(connection)
        except (Raced, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")

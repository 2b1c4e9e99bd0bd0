"""Connections to the database, as this service's statements take them."""

from typing import TypeAlias

import asyncpg

# Quoted: asyncpg's classes are generic in its stubs only.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

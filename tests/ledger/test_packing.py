"""Packed columns: what arrives is what the driver itself would have sent, and so are results."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.ledger.store.packing import pack_columns
from testkit.postgres import TestPostgres

NOW = datetime(2026, 11, 23, 6, 30, 12, 345_678, tzinfo=UTC)
LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
COLUMNS: Sequence[tuple[str, Sequence[Any]]] = (
    ("boolean", (True, False, None)),
    ("boolean", (True, True)),
    ("smallint", (1, -2, 32_767)),
    ("int", (7, 7, 7)),
    ("int", (None, 5, None)),
    ("bigint", (2**63 - 1, -(2**63), 0)),
    ("bigint", (None, None)),
    ("bigint", ()),
    ("text", ("", "é 漢 😀", "a")),
    ("text", ("same", "same", None)),
    ("bytea", (b"", b"\x00\xff", None)),
    ("timestamptz", (NOW, LONG_AGO, NOW + timedelta(microseconds=1))),
    ("timestamptz", (NOW, NOW)),
    ("uuid", (uuid4(), uuid4(), None)),
)


@pytest.fixture(scope="module")
async def connections(postgres: TestPostgres) -> AsyncIterator[tuple[Any, Any]]:
    dsn = postgres.empty()
    plain, packed = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    pack_columns(packed)
    yield plain, packed
    await plain.close()
    await packed.close()


@pytest.mark.parametrize("kind, values", COLUMNS)
async def test_a_column_arrives_and_comes_back_as_the_driver_has_it(
    connections: tuple[Any, Any], kind: str, values: Sequence[Any]
) -> None:
    plain, packed = connections
    statement = f"SELECT $1::{kind}[] AS column, $1::{kind}[]::text AS seen"

    assert await packed.fetchrow(statement, values) == await plain.fetchrow(statement, values)
    assert await packed.fetchval(statement, values) == list(values)


@pytest.mark.parametrize(
    "kind, values",
    [("bigint", [2**63]), ("smallint", [40_000]), ("bigint", ["5"]), ("text", [5])],
)
async def test_what_does_not_fit_is_an_error_as_with_the_driver(
    connections: tuple[Any, Any], kind: str, values: list[Any]
) -> None:
    _, packed = connections

    with pytest.raises(asyncpg.DataError):
        await packed.fetchval(f"SELECT $1::{kind}[]", values)
    assert await packed.fetchval("SELECT 1") == 1

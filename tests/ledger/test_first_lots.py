"""Of an account with many lots a spender needs the first; they are those that are spent first."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.ledger.domain.account import Account
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.expiry import spending_order
from services.ledger.store.accounts import Loaded, load_first_lots, load_open_lots
from testkit.postgres import TestDatabase, TestPostgres

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY, OTHER = (3, 77), (3, 78)
INSERT = """
INSERT INTO lot (
    bucket, account, sequence, id, currency, points, free, held, pending, earn_time, mature_time,
    expire_time, expiry_kind, inactivity_months, open, posting
) VALUES ($1, $2, $3, $4, $5, 50, $6, $7, $8, $9, $9, $10, $11, 6, $12, 1)
"""


def _loaded() -> dict[tuple[int, int], Loaded]:
    return {
        key: Loaded(Account(*key, 1, "ada", NOW, NOW), 1, 1, None, posted=True)
        for key in (KEY, OTHER)
    }


async def _fill(connection: Any, chance: random.Random, kinds: list[ExpiryKind]) -> None:
    for key in (KEY, OTHER):
        for sequence in range(1, 40):
            kind = chance.choice(kinds)
            dated = kind in (ExpiryKind.FIXED, ExpiryKind.DATE)
            free, held = chance.choice([0, 3, 7, 40]), chance.choice([0, 0, 5])
            await connection.execute(
                INSERT, *key, sequence, uuid4(), chance.choice([0, 0, 1]), free, held,
                chance.random() < 0.2, NOW - timedelta(days=chance.randrange(20)),
                NOW + timedelta(days=chance.randrange(1, 9)) if dated else None, kind,
                free + held > 0,
            )  # fmt: skip


@pytest.fixture(scope="module")
def database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """One without any lots."""
    made = postgres.fresh("ledger")
    yield made
    postgres.drop(made.name)


@pytest.mark.parametrize("seed", range(12))
async def test_the_first_lots_are_those_that_so_many_points_are_spent_from(
    database: TestDatabase, seed: int
) -> None:
    chance = random.Random(seed)
    kinds = [ExpiryKind.NONE, ExpiryKind.FIXED, ExpiryKind.DATE]
    if moving := seed % 3 == 0:
        kinds.append(ExpiryKind.INACTIVITY)
    connection = await asyncpg.connect(database.dsn)
    try:
        # Never committed, so that the next one finds no lots either.
        await connection.execute("BEGIN")
        await _fill(connection, chance, kinds)
        every, first = _loaded(), _loaded()
        await load_open_lots(connection, every, [KEY])
        points = chance.randrange(1, 120)
        await load_first_lots(connection, first, {KEY: points, OTHER: 1})
    finally:
        await connection.close()

    lots = [lot for lot in every[KEY].account.lots.values() if not lot.pending]
    expected = set()
    for currency in (0, 1):
        before = 0
        for lot in sorted(lots, key=lambda lot: spending_order(lot, NOW, ZoneInfo("UTC"))):
            if lot.currency == currency:
                if moving or before < points:
                    expected.add(lot.sequence)
                before += lot.free
    assert set(first[KEY].account.lots) == expected
    assert {n: every[KEY].account.lots[n] for n in expected} == first[KEY].account.lots
    assert moving or len(first[OTHER].account.lots) < 25

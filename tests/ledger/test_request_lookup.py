"""A command looks its request id up in an index, however long the history is."""

import asyncpg

from services.ledger.store import accounts
from testkit.postgres import TestDatabase


async def test_request_ids_are_found_by_their_index(ledger_database: TestDatabase) -> None:
    connection = await asyncpg.connect(ledger_database.dsn)
    try:
        rows = await connection.fetch(
            f"EXPLAIN {accounts._WORKING}",
            [1], [1], [1], [1], [-1], [1], [1], [1], [1], ["a"],
        )  # fmt: skip
    finally:
        await connection.close()

    plan = "\n".join(row[0] for row in rows)
    assert "posting_request" in plan, plan

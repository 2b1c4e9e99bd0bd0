"""Lanes look up what they need key by key, however small the tables were when it was planned."""

import itertools
import re
from types import ModuleType

from chassis.database import Connection, open_pools
from services.ledger.store import accounts, directory, identifiers, links, rare, save
from services.ledger.store.sessions import Session

# Looked up by one key, through tables of which a member has few rows.
OTHERS = {"_LOOKUP", "_PROGRAMS"}


def _statements(module: ModuleType) -> list[str]:
    named = {name: text for name, text in vars(module).items() if re.fullmatch("_[A-Z_]+", name)}
    return [
        text
        for name, text in named.items()
        if isinstance(text, str) and "$1" in text and name not in OTHERS
    ]


async def _plan(connection: Connection, name: str, statement: str) -> list[str]:
    count = len(set(re.findall(r"\$\d+", statement)))
    await connection.execute(f"PREPARE {name} AS {statement}")
    nulls = ", ".join(["NULL"] * count)
    rows = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE {name} ({nulls})")
    return [row[0] for row in rows]


async def test_lanes_read_no_table_from_end_to_end(ledger_dsn: str) -> None:
    pools = await open_pools(ledger_dsn, 1, 1)
    session = Session(pools.lanes)
    try:
        connection = await session.begin()
        seen = set()
        for module in (accounts, directory, identifiers, links, rare, save):
            for number, statement in enumerate(_statements(module)):
                name = f"{module.__name__.rpartition('.')[2]}_{number}"
                rows = await _plan(connection, name, statement)
                for line, following in itertools.pairwise([*rows, ""]):
                    assert "Seq Scan" not in line, statement
                    if "Index" in line and " using " in line:
                        assert "Index Cond" in following, f"{line} of {statement}"
                        seen.add(line.split(" using ")[1].split()[0])
    finally:
        await session.close()
        await pools.close()

    assert {"posting_request", "balance_pkey", "counter_pkey"} <= seen

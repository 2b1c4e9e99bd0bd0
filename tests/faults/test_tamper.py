"""Whoever writes into the ledger's rows is found, and named by row."""

from collections.abc import AsyncIterator

import pytest

from loyalty.ledger.v1 import resources_pb2
from testkit.postgres import TestPostgres
from tests.faults.tamper_kit import CHANGES, MEMBERS, Column, Intruder, Story, intruding
from tests.ledger.checkpoint_kit import keeping

# Rows of which that much cannot be known, and why.
BEYOND = {
    ("account", "next_due_time"): "what nothing is due for may be woken for nothing",
    ("reversal", "dan"): "more may have been reversed in the account that it was merged into",
    ("reversal", "cara"): "more may have been reversed in the group that it was linked to",
}
# Whoever changes these gives the entry to somebody else, or another number: it is missing here.
MOVES_THE_ENTRY = {("entry", "bucket"), ("entry", "account"), ("entry", "sequence")}
# Whoever changes these takes something away from a member: only the whole program shows it.
TAKES_AWAY = {
    ("account", "bucket"),
    ("account", "id"),
    ("account", "program"),
    ("account", "person"),
    ("request", "bucket"),
    ("request", "account"),
    ("request", "request_id"),
    ("directory", "name_bucket"),
    ("directory", "organization"),
    ("directory", "member"),
    ("directory", "bucket"),
    ("directory", "person"),
    ("pool", "bucket"),
    ("pool", "account"),
    ("pool_member", "bucket"),
    ("pool_member", "account"),
}


@pytest.fixture(scope="module")
async def intruder(
    postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Intruder]:
    """Somebody who may write anything, and a ledger whose history has everything in it."""
    database = postgres.fresh("ledger")
    async with keeping(database, tmp_path_factory.mktemp("tamper")) as kept:
        await kept.ledger.create_organization()
        await Story(kept.ledger).tell()
        async with intruding(kept, postgres.server.dsn(database.name)) as made:
            yield made
    postgres.drop(database.name)


async def test_the_story_has_every_kind_of_entry(intruder: Intruder) -> None:
    kinds = {row[0] for row in await intruder.rows.fetch("SELECT DISTINCT kind FROM entry")}

    assert kinds == set(resources_pb2.Entry.Kind.values()) - {0}


async def test_an_untouched_history_agrees(intruder: Intruder) -> None:
    assert await intruder.findings_of_all() == []
    for member in MEMBERS:
        assert await intruder.findings(member) == []


TABLES = (
    "account", "balance", "counter", "directory", "entry", "hold", "lot", "pool", "pool_member",
    "posting", "request", "reversal",
)  # fmt: skip


async def test_no_table_of_accounts_is_forgotten(intruder: Intruder) -> None:
    assert set(await intruder.tables()) == set(TABLES)


def rows_named(column: Column, row: dict[str, object]) -> set[str]:
    """How verifying may name a row that was changed in a column."""
    if (column.table, column.name) in MOVES_THE_ENTRY:
        return {"account", f"entry {int(str(row['sequence'])) + 1}"}
    match column.table:
        case "entry":
            return {f"entry {row['sequence']}"}
        case "posting":
            first, count = int(str(row["first_entry"])), int(str(row["entry_count"]))
            of_it = {f"entry {sequence}" for sequence in range(first, first + count)}
            return {f"posting {row['sequence']}", *of_it}
        case "counter":
            return {f"counter {row['counter']} month {row['month']}"}
        case "balance":
            return {f"balance {row['currency']}"}
        case "lot" | "hold":
            return {f"{column.table} {row['sequence']}"}
        case "request":
            # Found in the account of the posting, too.
            return {f"request {row['request_id']}", "account", f"posting {row['posting_sequence']}"}
        case "reversal":
            return {f"reversal {row['entry']}"}
        case "directory":
            return {"person", "account"}
        case "pool":
            return {"group", "account"}
        case "pool_member":
            stay = f"stay since {row['entry']}"
            return {stay, f"stay of account {row['member_account']} since {row['entry']}"}
    return {"account", "billing_day"}


@pytest.mark.parametrize("table", TABLES)
async def test_every_column_is_verified(intruder: Intruder, table: str) -> None:
    missed = []
    tried = 0
    for column in await intruder.columns(table):
        rows = await intruder.some_rows(column)
        assert rows, f"the story has no row of {table}"
        # Verifying the whole program takes its time.
        for row in rows[:2] if table == "directory" else rows:
            if (table, row["of_member"]) in BEYOND:
                continue
            changes = [CHANGES[column.type]]
            if (table, column.name) in BEYOND:
                changes = [] if row[column.name] is None else ["'2099-01-01'"]
            if column.nullable and row[column.name] is not None:
                changes.append("NULL")
            for change in changes:
                tried += 1
                async with intruder.tampered(column, row, change):
                    whole = (table, column.name) in TAKES_AWAY
                    found = await (
                        intruder.findings_of_all() if whole else intruder.findings(row["of_member"])
                    )
                named = {name for name, _ in found}
                if table == "pool_member" and not column.name.endswith("seal"):
                    # Of a row whose own keys were changed, what is named is what it says now.
                    named |= {f"stay since {row['entry']}" for name in named if "stay" in name}
                if not rows_named(column, dict(row)) & named:
                    was = f"{row['of_member']}: {column.name} was {row[column.name]!s:.40}"
                    missed.append(f"{was}, became {change}: {found[:3]}")

    assert not missed, "\n".join(missed)
    assert tried >= len(await intruder.columns(table))
    assert await intruder.findings_of_all() == []


async def test_exchanged_people_are_found(intruder: Intruder) -> None:
    async with intruder.exchanged("bob", "ann"):
        found = {member: await intruder.findings(member) for member in ("bob", "ann")}

    assert all(("person", "seal") in findings for findings in found.values()), found
    assert await intruder.findings_of_all() == []

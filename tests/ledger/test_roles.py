"""The role that serves can add to the book, and can do nothing else to it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from testkit.postgres import TestDatabase, TestPostgres

MIGRATIONS = Path(__file__).parents[2] / "services/ledger/store/migrations"
ROLE = "loyalty_ledger"

Connection = asyncpg.Connection


def declared(attribute: str) -> set[str]:
    """The tables that the migrations declare as such."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
    return {
        table
        for script in scripts.walk_revisions()
        for table in getattr(script.module, attribute, ())
    }


APPEND_ONLY = sorted(declared("append_only"))
UPSERT = (
    "INSERT INTO {table} TABLE {table}"
    " ON CONFLICT ON CONSTRAINT {table}_pkey DO UPDATE SET {column} = 1"
)


@pytest.fixture(scope="module")
def database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """One database for all of these, because none of them changes it."""
    database = postgres.fresh("ledger")
    yield database
    postgres.drop(database.name)


@pytest.fixture
async def serving(database: TestDatabase) -> AsyncIterator["Connection[asyncpg.Record]"]:
    """A connection as the role that serves."""
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


def test_the_history_is_declared_append_only() -> None:
    assert {"posting", "entry", "request", "program_revision", "program_change"} <= set(APPEND_ONLY)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {column} = {column}",
        "UPDATE ONLY {table} SET {column} = {column} WHERE false",
        "DELETE FROM {table}",
        "TRUNCATE {table}",
        "SELECT 1 FROM {table} FOR UPDATE",
        "MERGE INTO {table} t USING (SELECT 1) s ON false WHEN MATCHED THEN DELETE",
        UPSERT,
        "ALTER TABLE {table} DISABLE TRIGGER ALL",
        "ALTER TABLE {table} ADD COLUMN mine integer",
        "ALTER TABLE {table} RENAME TO hidden",
        "ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",
        "ALTER TABLE {table} OWNER TO loyalty_ledger",
        "DROP TABLE {table}",
        "CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
        "CREATE INDEX mine ON {table} ({column})",
        "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    ],
)
async def test_the_serving_role_cannot_change_what_is_written(
    serving: "Connection[asyncpg.Record]", table: str, statement: str
) -> None:
    column = await serving.fetchval(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum = 1", table
    )

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await serving.execute(statement.format(table=table, column=column))


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "SET ROLE loyalty_ledger_owner",
        "SET SESSION AUTHORIZATION loyalty_ledger_owner",
        "CREATE TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "ALTER ROLE loyalty_ledger SUPERUSER",
        "ALTER SCHEMA public OWNER TO loyalty_ledger",
        "COPY fact TO PROGRAM 'cat'",
        "COPY fact TO '/tmp/fact'",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
async def test_the_serving_role_has_no_way_around(
    serving: "Connection[asyncpg.Record]", statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await serving.execute(statement)


async def test_the_serving_role_owns_nothing_and_belongs_to_nobody(
    serving: "Connection[asyncpg.Record]",
) -> None:
    assert await serving.fetchval("SELECT current_user") == ROLE
    owned = await serving.fetch(
        """
        SELECT oid::regclass::text FROM pg_class WHERE relowner = $1::regrole
        UNION ALL SELECT proname FROM pg_proc WHERE proowner = $1::regrole
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspowner = $1::regrole
        UNION ALL SELECT datname FROM pg_database WHERE datdba = $1::regrole
        """,
        ROLE,
    )
    assert owned == []
    attributes = await serving.fetchrow(
        """
        SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
        FROM pg_roles WHERE rolname = $1
        """,
        ROLE,
    )
    assert attributes is not None
    assert set(attributes.values()) == {False}
    assert (
        await serving.fetch("SELECT 1 FROM pg_auth_members WHERE member = $1::regrole", ROLE) == []
    )


async def test_no_table_is_forgotten(serving: "Connection[asyncpg.Record]") -> None:
    """What the catalogue says of every table, also of columns, is what the migrations declare."""
    found = await serving.fetch(
        """
        SELECT relname AS name, has_table_privilege(oid, 'INSERT') AS insert,
            has_any_column_privilege(oid, 'UPDATE') AS update,
            has_table_privilege(oid, 'DELETE') AS delete,
            has_table_privilege(oid, 'TRUNCATE, TRIGGER, REFERENCES, MAINTAIN') AS more
        FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
            AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
        """
    )
    tables = {row["name"]: row for row in found}

    assert len(tables) > 15
    assert set(APPEND_ONLY) <= set(tables)
    assert {name for name, row in tables.items() if not row["update"]} == set(APPEND_ONLY)
    assert {name for name, row in tables.items() if row["delete"]} == declared("deletable")
    assert {name for name, row in tables.items() if row["more"]} == set()
    assert {name for name, row in tables.items() if not row["insert"]} == set()

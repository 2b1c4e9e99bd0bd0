"""Migrations run once, whoever calls them, and the serving role cannot rewrite the book."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from chassis.migrations import migrate, role_of
from testkit.postgres import TestPostgres

FIRST = '''
"""First."""
from alembic import op
revision = "0001"
down_revision = None
append_only = ("book",)
deletable = ("lease",)
def upgrade():
    op.execute("CREATE TABLE book (id int PRIMARY KEY)")
    op.execute("CREATE TABLE lease (id int PRIMARY KEY)")
    op.execute("CREATE TABLE note (id int PRIMARY KEY)")
'''
SECOND = '''
"""Second."""
from alembic import op
revision = "0002"
down_revision = "0001"
append_only = ("ledger",)
erasable = {"ledger": ("whose",)}
def upgrade():
    op.execute("CREATE TABLE ledger (id int PRIMARY KEY, whose text)")
'''
BROKEN = '''
"""Second."""
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade():
    op.execute("CREATE TABLE half (id int PRIMARY KEY)")
    op.execute("CREATE TABLE book (id int PRIMARY KEY)")
'''


@pytest.fixture
def revisions(tmp_path: Path) -> Path:
    """A folder with one revision."""
    (tmp_path / "0001_first.py").write_text(FIRST)
    return tmp_path


def _fetch(dsn: str, statement: str) -> list[tuple[object, ...]]:
    async def run() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(dsn)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(run())


def _tables(dsn: str) -> list[str]:
    rows = _fetch(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [str(row[0]) for row in rows]


def test_missing_revisions_are_run_and_running_again_changes_nothing(
    postgres: TestPostgres, revisions: Path
) -> None:
    dsn = postgres.empty()

    migrate(dsn, revisions)
    migrate(dsn, revisions)

    assert _tables(dsn) == ["alembic_version", "book", "lease", "note"]


def test_four_processes_that_migrate_at_once_run_each_revision_once(
    postgres: TestPostgres, revisions: Path
) -> None:
    dsn = postgres.empty()

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(migrate, dsn, revisions) for _ in range(4)]
        for each in done:
            each.result()

    assert _fetch(dsn, "SELECT version_num FROM alembic_version") == [("0001",)]


def test_processes_that_start_together_do_not_grant_at_once(
    postgres: TestPostgres, revisions: Path
) -> None:
    """Two grants at once on one schema are refused by Postgres, and a process would not start."""
    dsn = postgres.empty()
    postgres.server.ensure_role("reader")
    serving = postgres.server.dsn(dsn.rpartition("/")[2], "reader")
    migrate(dsn, revisions, serving)

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(migrate, dsn, revisions, serving) for _ in range(24)]
        for each in done:
            each.result()

    assert _fetch(dsn, "SELECT has_table_privilege('reader', 'book', 'INSERT')") == [(True,)]


def test_the_previous_version_starts_on_the_tables_of_the_next_and_leaves_them(
    postgres: TestPostgres, revisions: Path
) -> None:
    dsn = postgres.empty()
    postgres.server.ensure_role("reader")
    serving = postgres.server.dsn(dsn.rpartition("/")[2], "reader")
    second = revisions / "0002_second.py"
    second.write_text(SECOND)
    migrate(dsn, revisions, serving)
    second.unlink()
    migrate(dsn, revisions, serving)

    assert _tables(dsn) == ["alembic_version", "book", "lease", "ledger", "note"]
    # What the next version declared of its tables still holds.
    rights = """
        SELECT has_table_privilege('reader', 'ledger', 'INSERT'),
            has_table_privilege('reader', 'ledger', 'DELETE'),
            has_column_privilege('reader', 'ledger', 'id', 'UPDATE'),
            has_column_privilege('reader', 'ledger', 'whose', 'UPDATE')
    """
    assert _fetch(dsn, rights) == [(True, False, False, True)]


def test_a_revision_that_fails_leaves_nothing_half_done(
    postgres: TestPostgres, revisions: Path
) -> None:
    dsn = postgres.empty()
    migrate(dsn, revisions)
    (revisions / "0002_broken.py").write_text(BROKEN)

    with pytest.raises(Exception, match="book"):
        migrate(dsn, revisions)

    assert "half" not in _tables(dsn)


async def test_migrating_inside_a_running_loop_works(
    postgres: TestPostgres, revisions: Path
) -> None:
    await asyncio.to_thread(migrate, postgres.empty(), revisions)
    migrate(postgres.empty(), revisions)


@pytest.mark.parametrize(
    "statement, allowed",
    [
        ("INSERT INTO book VALUES (2)", True),
        ("SELECT * FROM book", True),
        ("UPDATE book SET id = 3", False),
        ("DELETE FROM book", False),
        ("TRUNCATE book", False),
        ("UPDATE note SET id = 3", True),
        ("DELETE FROM note", False),
        ("DELETE FROM lease", True),
        ("DROP TABLE note", False),
        ("CREATE TABLE mine (id int)", False),
        ("DELETE FROM alembic_version", False),
    ],
)
def test_the_serving_role_may_do_only_what_revisions_declare(
    postgres: TestPostgres, revisions: Path, statement: str, allowed: bool
) -> None:
    server = postgres.server
    dsn = postgres.empty()
    database = dsn.rsplit("/", 1)[1]
    server.ensure_role("loyalty_serving")
    server.execute(f"GRANT CONNECT ON DATABASE {database} TO loyalty_serving")
    serving = server.dsn(database, "loyalty_serving")
    migrate(dsn, revisions, serving)

    if allowed:
        _fetch(serving, statement)
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            _fetch(serving, statement)


def test_a_serving_role_alone_may_migrate_where_nothing_is_missing(ledger_dsn: str) -> None:
    root = Path(__file__).resolve().parents[2]
    migrate(ledger_dsn, root / "services" / "ledger" / "store" / "migrations")

    assert role_of(ledger_dsn) == "loyalty_ledger"


@pytest.mark.parametrize("table", ["posting", "entry"])
def test_the_ledger_cannot_rewrite_its_book(ledger_dsn: str, table: str) -> None:
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET bucket = bucket"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            _fetch(ledger_dsn, statement)

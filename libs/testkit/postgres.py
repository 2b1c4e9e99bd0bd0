"""A real Postgres for tests: one server a test process, one fresh database a test.

A database is copied from a template that was migrated once. Nothing here is durable.
"""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chassis.migrations import migrate
from chassis.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "io_method": "sync",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    # Every test opens connections anew, and what guards a password is tested elsewhere.
    "scram_iterations": "1",
}


@dataclass(frozen=True)
class TestDatabase:
    """One database: `dsn` of the serving role, `owner_dsn` of the role that owns the tables."""

    __test__ = False

    name: str
    dsn: str
    owner_dsn: str


@dataclass
class TestPostgres:
    """A running server and the templates made on it so far."""

    __test__ = False

    server: EmbeddedPostgres
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _templates: set[str] = field(default_factory=set)

    def fresh(self, service: str) -> TestDatabase:
        """Answer a new database with the tables of `services/<service>/store/migrations`."""
        template = f"template_{service}"
        if template not in self._templates:
            self._make_template(service, template)
        name = f"{service}_{next(self._numbers)}"
        owner = f"loyalty_{service}_owner"
        self.server.execute(
            f"CREATE DATABASE {name} TEMPLATE {template} OWNER {owner} STRATEGY FILE_COPY"
        )
        return self._database(service, name)

    def empty(self) -> str:
        """Answer the superuser's address of a new database without tables."""
        name = f"empty_{next(self._numbers)}"
        self.server.ensure_database(name)
        return self.server.dsn(name)

    def drop(self, database: str) -> None:
        """Drop a database whoever is still connected."""
        self.server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _make_template(self, service: str, template: str) -> None:
        for role in (f"loyalty_{service}", f"loyalty_{service}_owner"):
            self.server.ensure_role(role)
        self.server.ensure_database(template, f"loyalty_{service}_owner")
        database = self._database(service, template)
        self.server.execute(f"GRANT CONNECT ON DATABASE {template} TO loyalty_{service}")
        migrations = ROOT / "services" / service / "store" / "migrations"
        migrate(database.owner_dsn, migrations, database.dsn)
        self._templates.add(template)

    def _database(self, service: str, name: str) -> TestDatabase:
        # Asking for TLS that is not there costs every connection a round trip.
        serving, owner = (
            f"{self.server.dsn(name, role)}?sslmode=disable"
            for role in (f"loyalty_{service}", f"loyalty_{service}_owner")
        )
        return TestDatabase(name, serving, owner)


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestPostgres]:
    """A Postgres server for this test process."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-test-"))
    server = EmbeddedPostgres(folder, SETTINGS)
    server.start()
    yield TestPostgres(server)
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ledger_database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """A fresh database of the ledger, dropped after the test."""
    database = postgres.fresh("ledger")
    yield database
    postgres.drop(database.name)


@pytest.fixture
def ledger_dsn(ledger_database: TestDatabase) -> str:
    """The address of a fresh ledger database, as the role that serves."""
    return ledger_database.dsn


@pytest.fixture
def ledger_owner_dsn(ledger_database: TestDatabase) -> str:
    """The same database as `ledger_dsn`, as the role that owns the tables and may tamper."""
    return ledger_database.owner_dsn

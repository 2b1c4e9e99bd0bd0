"""Bringing a service's tables up to date.

A service keeps plain alembic revisions in `services/<name>/store/migrations`; the environment that
runs them is here, once for all. A revision may declare

* `append_only = ("entry", …)`: tables in which the serving role may neither update nor delete;
* `deletable = ("lease", …)`: tables from which it may delete;
* `erasable = {"change": ("member", …)}`: columns that it may update in spite of `append_only`,
  because they name people, who can be erased.

Every other table may be read, inserted into and updated.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from chassis.database import engine
from chassis.logs import logger

ENVIRONMENT = Path(__file__).with_name("migration_env")
LOCK_WAIT_MS = 120_000


def migrate(dsn: str, script_location: Path, serving_dsn: str | None = None) -> None:
    """Run the missing revisions of `script_location`, then grant the serving role what it needs.

    `dsn` is of the role that owns the tables. Where `serving_dsn` is of another role, that one gets
    its grants; with nothing missing this needs no more than the right to read. Several processes
    may call it at once: one works, the others wait. Blocks; inside an event loop use a thread.

    Tables that a later version has moved on are left as they are, with their grants: the previous
    version starts and serves on them while the next one is rolled out, or taken back.
    """
    work = _migrate(dsn, script_location, serving_dsn)
    # A loop of its own in a thread of its own works whether or not the caller runs one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def role_of(dsn: str) -> str:
    """Answer the role that an address logs in as, or an empty string."""
    return unquote(urlsplit(dsn).username or "")


async def _migrate(dsn: str, script_location: Path, serving_dsn: str | None) -> None:
    database = engine(dsn, size=1)
    try:
        async with database.connect() as connection:
            serving = role_of(serving_dsn) if serving_dsn else ""
            if serving == role_of(dsn):
                serving = ""
            await connection.run_sync(_bring_up_to_date, script_location, serving)
    finally:
        await database.dispose()


def _config(script_location: Path) -> Config:
    config = Config()
    # Alembic reads these through configparser, to which a percent sign means something.
    config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
    config.set_main_option("version_locations", str(script_location).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _bring_up_to_date(connection: Connection, script_location: Path, serving: str) -> None:
    """Run what is missing, then grant; one process at a time, for two must not grant at once."""
    key = int.from_bytes(hashlib.sha256(b"loyalty migrations").digest()[:8], signed=True)
    connection.execute(text(f"SET lock_timeout = {LOCK_WAIT_MS}"))
    # Of the session, not of a transaction: a revision may commit on its way.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    connection.commit()
    try:
        config = _config(script_location)
        config.attributes["connection"] = connection
        if not _is_newer(connection, config):
            command.upgrade(config, "head")
            connection.commit()
            if serving:
                _grant(connection, script_location, serving)
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        connection.commit()


def _is_newer(connection: Connection, config: Config) -> bool:
    known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    run = set(MigrationContext.configure(connection).get_current_heads())
    if run - known:
        logger("migrations").warning("the tables are of a later version", revisions=sorted(run))
    return bool(run - known)


def _grant(connection: Connection, script_location: Path, role: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    names = sorted(str(row[0]) for row in tables)
    append_only = set(_declared(script_location, "append_only"))
    deletable = set(_declared(script_location, "deletable"))
    erasable = dict(_declared(script_location, "erasable"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {quote(role)}"))
    for name in names:
        for statement in _grants(quote(name), quote(role), _rights(name, append_only, deletable)):
            connection.execute(text(statement))
        for column in erasable.get(name, ()):
            columns = f"UPDATE ({quote(column)}) ON {quote(name)}"
            connection.execute(text(f"GRANT {columns} TO {quote(role)}"))
    connection.commit()


def _rights(name: str, append_only: set[str], deletable: set[str]) -> str:
    if name == "alembic_version":
        return "SELECT"
    if name in append_only:
        return "SELECT, INSERT"
    return "SELECT, INSERT, UPDATE, DELETE" if name in deletable else "SELECT, INSERT, UPDATE"


def _grants(table: str, role: str, rights: str) -> Sequence[str]:
    # Revoked first, so that a right that is no longer declared goes; one transaction does both.
    return f"REVOKE ALL ON {table} FROM {role}", f"GRANT {rights} ON {table} TO {role}"


def _declared(script_location: Path, attribute: str) -> Iterator[Any]:
    for script in ScriptDirectory.from_config(_config(script_location)).walk_revisions():
        declared = getattr(script.module, attribute, ())
        yield from declared.items() if isinstance(declared, dict) else declared

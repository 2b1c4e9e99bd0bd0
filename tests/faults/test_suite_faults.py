"""Whatever part of a suite is killed, the rest goes on or ends, and the next start recovers."""

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from chassis.postgres import EmbeddedPostgres
from testkit.postgres import SETTINGS, TestPostgres
from tests.faults.suite_process import SuiteProcess

SUITE = str(Path(__file__).with_name("dummy_suite.py"))
MIGRATION = '''
"""First."""
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.execute("CREATE TABLE note (id int PRIMARY KEY)")
'''


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that other accounts may pass through, as /tmp itself is."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-suite-"))
    (folder / "migrations").mkdir()
    (folder / "migrations" / "0001_first.py").write_text(MIGRATION)
    folder.chmod(0o711)
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


def start(home: Path, **environment: str) -> SuiteProcess:
    return SuiteProcess(home, [SUITE, str(home.parent / "migrations")], environment)


def add_note(home: Path, number: int) -> list[int]:
    """Write a row as the embedded superuser and answer all of them."""
    folder = home / "postgres"
    password = (folder / "password").read_text().strip()
    port = (folder / "port").read_text().strip()

    async def write() -> list[int]:
        connection = await asyncpg.connect(
            f"postgresql://postgres:{password}@127.0.0.1:{port}/loyalty_ledger"
        )
        try:
            await connection.execute("INSERT INTO note VALUES ($1)", number)
            rows = await connection.fetch("SELECT id FROM note ORDER BY id")
            return [row["id"] for row in rows]
        finally:
            await connection.close()

    return asyncio.run(write())


def test_sigterm_stops_the_gateway_first_and_postgres_last(home: Path) -> None:
    with start(home) as suite:
        suite.ready()
        suite.process.send_signal(signal.SIGTERM)
        code = suite.wait()

        assert code == 0
        assert suite.journal()[-4:] == [
            "gateway stops",
            "gateway stopped",
            "ledger stops",
            "ledger stopped",
        ]
        assert suite.output.index("ledger stopped") < suite.output.index("postgres stopped")
        assert "database system is shut down" in (home / "postgres" / "postgres.log").read_text()
        assert suite.left(0) == []
        assert not (home / "running.json").exists()


def test_ctrl_c_of_a_terminal_reaches_the_supervisor_alone(home: Path) -> None:
    with start(home) as suite:
        suite.ready()
        os.killpg(suite.process.pid, signal.SIGINT)

        assert suite.wait() == 0
        assert "ended" not in suite.output
        assert suite.left(0) == []


def test_under_nohup_the_end_of_the_terminal_does_not_matter(home: Path) -> None:
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    with SuiteProcess(home, ["-c", code, SUITE, str(home.parent / "migrations")]) as suite:
        suite.ready()
        suite.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            suite.process.wait(1)
        suite.process.terminate()

        assert suite.wait() == 0


def test_a_killed_supervisor_leaves_nothing_running_and_the_next_start_recovers(
    home: Path,
) -> None:
    with start(home, LOYALTY_LEDGER_PORT=str(free_port())) as suite:
        suite.ready()
        add_note(home, 1)
        suite.kill("supervisor")

        assert suite.left() == []
        port = json.loads((home / "running.json").read_text())["ports"]["LOYALTY_LEDGER_PORT"]

    with start(home, LOYALTY_LEDGER_PORT=str(port)) as suite:
        suite.ready()

        assert add_note(home, 2) == [1, 2]


def test_a_start_at_once_after_a_kill_waits_for_what_is_still_ending(home: Path) -> None:
    port = str(free_port())
    with start(home, LOYALTY_LEDGER_PORT=port) as suite:
        suite.ready()
        suite.kill("supervisor")
        suite.process.wait(5)
        with start(home, LOYALTY_LEDGER_PORT=port) as again:
            again.ready()


def test_a_suite_that_is_to_stop_with_its_parent_does_so_when_that_is_killed(home: Path) -> None:
    code = "import subprocess, sys; subprocess.call([sys.executable, *sys.argv[1:]])"
    migrations = str(home.parent / "migrations")
    with SuiteProcess(home, ["-c", code, SUITE, migrations, "--with-parent"]) as suite:
        suite.ready()
        suite.process.kill()
        suite.wait_for("postgres stopped")

        assert suite.left() == []
        assert suite.journal()[-1] == "ledger stopped"


@pytest.mark.parametrize("name", ["ledger", "gateway"])
def test_a_killed_service_is_started_again(home: Path, name: str) -> None:
    with start(home) as suite:
        suite.ready()
        before = suite.pids()
        suite.wait_until_replaced(name, suite.kill(name))
        after = suite.pids()

        assert {key for key in before if before[key] != after[key]} == {name}


def test_a_killed_postgres_is_started_again_on_its_port_with_its_data(home: Path) -> None:
    with start(home) as suite:
        suite.ready()
        add_note(home, 1)
        port = (home / "postgres" / "port").read_text()
        suite.wait_until_replaced("postgres", suite.kill("postgres"))

        assert (home / "postgres" / "port").read_text() == port
        assert add_note(home, 2) == [1, 2]
        suite.note_processes()
        suite.process.terminate()
        assert suite.wait() == 0
        assert suite.left() == []


def test_services_are_moved_where_the_port_of_postgres_was_taken_meanwhile(home: Path) -> None:
    with start(home) as suite:
        suite.ready()
        before = suite.pids()
        port = int((home / "postgres" / "port").read_text())
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A supervisor that stands still cannot be quicker than the thief.
            os.kill(before["supervisor"], signal.SIGSTOP)
            suite.kill("postgres")
            bind_when_free(thief, port)
            thief.listen()
            os.kill(before["supervisor"], signal.SIGCONT)
            suite.wait_until_replaced("ledger", before["ledger"])

            assert int((home / "postgres" / "port").read_text()) != port
            assert add_note(home, 1) == [1]


def test_a_dead_service_is_not_started_in_a_hurry_for_ever(home: Path) -> None:
    with start(home, LOYALTY_GATEWAY_BREAKS="yes") as suite:
        code = suite.wait()

        assert code == 1
        assert "gateway does not start" in suite.output
        assert "this cannot work" in suite.output
    assert not (home / "running.json").exists()


def test_a_taken_port_is_one_sentence_and_nothing_was_started(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with start(home, LOYALTY_GATEWAY_PORT=str(port)) as suite:
            code = suite.wait(20)

    assert code == 1
    assert suite.output == (
        f"loyalty: port {port} is taken by another program: stop it, or set LOYALTY_GATEWAY_PORT\n"
    )
    assert not (home / "postgres").exists()


def test_a_second_suite_in_one_home_is_refused(home: Path) -> None:
    with start(home) as suite:
        suite.ready()
        with start(home) as second:
            code = second.wait()

        assert code == 1
        assert second.output == (
            f"loyalty: another suite runs in {home}: stop it, or set LOYALTY_HOME\n"
        )
        assert set(suite.pids()) == {"supervisor", "postgres", "ledger", "gateway"}


def test_sigterm_while_starting_ends_it_all(home: Path) -> None:
    with start(home) as suite:
        deadline = time.monotonic() + 30
        while not (home / "postgres" / "data" / "PG_VERSION").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        suite.process.terminate()

        assert suite.wait() == 0
        assert "ready" not in suite.output


def test_with_an_address_in_the_environment_no_database_is_started(
    home: Path, postgres: TestPostgres
) -> None:
    dsn = postgres.empty()
    with start(home, LOYALTY_LEDGER_DSN=dsn) as suite:
        suite.ready()

        assert "postgres" not in suite.pids()
        assert not (home / "postgres").exists()
        assert postgres.server.execute("SELECT count(*) FROM note", dsn.rsplit("/", 1)[1]) == "0"


def test_secrets_are_private_and_services_get_their_own_database_only(home: Path) -> None:
    with start(home) as suite:
        suite.ready()
        lines = {line.split()[0]: line for line in suite.journal()}
        modes = {
            name: stat.S_IMODE((home / name).stat().st_mode)
            for name in ("keys", "keys/signing.json", "logs", "postgres/password", "postgres/data")
        }

        assert lines == {
            "ledger": "ledger starts ['LOYALTY_LEDGER_DSN']",
            "gateway": "gateway starts []",
        }
        assert modes == {
            "keys": 0o700,
            "keys/signing.json": 0o600,
            "logs": 0o700,
            "postgres/password": 0o600,
            "postgres/data": 0o700,
        }


def test_a_server_left_over_by_a_lost_owner_is_ended_before_the_next_start(home: Path) -> None:
    home.mkdir()
    lost = EmbeddedPostgres(home / "postgres", SETTINGS)
    lost.start()
    assert lost.process is not None
    pid = lost.process.pid
    # Letting go of the lock without stopping is what a lost owner looks like.
    lost._release_folder()
    with start(home) as suite:
        suite.ready()

        assert lost.process.wait(1) is not None
        assert suite.pids()["postgres"] != pid
        assert not psutil.pid_exists(pid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bind_when_free(thief: socket.socket, port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            thief.bind(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return

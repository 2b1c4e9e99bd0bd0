"""The embedded Postgres: one owner, its own account, and nothing left of a killed one."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chassis.children import Account, start_child
from chassis.postgres import EmbeddedPostgres, PostgresUnavailable
from chassis.postgres.access import record_account, recorded_account
from chassis.postgres.memory import shared_buffers
from testkit.postgres import SETTINGS, TestPostgres

ROOT = Path(__file__).resolve().parents[2]
NOBODY = pwd.getpwnam("nobody")
IS_ROOT = os.geteuid() == 0
KINDS = ("user", "namespace", "searching-user") if IS_ROOT else ("self",)
OWNER = """
import sys, time
from pathlib import Path
from chassis.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"})
server.start()
print(server.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts may pass through, as they may not through pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-postgres-"))
    folder.chmod(0o711)
    yield folder / "postgres"
    shutil.rmtree(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that is started, and stopped in the end."""
    server = EmbeddedPostgres(folder, SETTINGS)
    server.start()
    yield server
    server.stop()


def _account(kind: str) -> Account:
    if kind == "self":
        return Account(kind, os.geteuid(), os.getegid())
    return Account(kind, NOBODY.pw_uid, NOBODY.pw_gid)


def _skip_unless_possible(error: PostgresUnavailable, kind: str) -> None:
    if kind == "namespace" and "unshare" in str(error):
        pytest.skip("user namespaces are forbidden here")
    raise error


def test_data_and_port_outlive_a_restart(server: EmbeddedPostgres) -> None:
    server.execute("CREATE TABLE note (id int); INSERT INTO note VALUES (7)")
    port = server.port
    server.restart()

    assert server.execute("SELECT id FROM note") == "7"
    assert server.port == port


def test_a_run_is_durable_and_without_jit(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    names = ("fsync", "synchronous_commit", "full_page_writes", "jit", "data_checksums")
    shown = [server.execute(f"SHOW {name}") for name in names]
    locale = server.execute("SELECT datlocprovider, datlocale FROM pg_database LIMIT 1")
    server.stop()

    assert shown == ["on", "on", "on", "off", "on"]
    assert locale == "b|C.UTF-8"


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    rules = server.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    server._password = "guessed"

    assert rules == "scram-sha-256"
    with pytest.raises(PostgresUnavailable, match="password authentication failed"):
        server.execute("SELECT 1")


def test_a_service_role_reaches_its_own_database_only(server: EmbeddedPostgres) -> None:
    for name in ("one", "two"):
        server.ensure_role(name)
        server.ensure_database(name, name)
        server.ensure_database(name, name)
    access = server.execute(
        "SELECT rolname, datname FROM pg_roles, pg_database WHERE rolname IN ('one', 'two')"
        " AND datname IN ('one', 'two') AND has_database_privilege(rolname, datname, 'CONNECT')"
        " ORDER BY 1"
    )

    assert access == "one|one\ntwo|two"


@pytest.mark.parametrize("name", ["", "Robert'); DROP", "a b", "x" * 64, "1a"])
def test_names_are_plain(postgres: TestPostgres, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain name"):
        postgres.server.ensure_database(name)


def test_a_folder_has_one_owner(server: EmbeddedPostgres) -> None:
    with pytest.raises(PostgresUnavailable, match="in use by another process"):
        EmbeddedPostgres(server.folder).start()


def test_a_pid_file_that_names_a_living_stranger_is_no_obstacle(server: EmbeddedPostgres) -> None:
    pid_file = server._data / "postmaster.pid"
    server.stop()
    owner = server._data.stat()
    pid_file.write_text(f"{os.getpid()}\n{server._data}\n1\n1\n\n*\n")
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    server.start()

    assert server.execute("SELECT 1") == "1"


def test_data_that_was_made_half_is_made_anew(folder: Path) -> None:
    (folder / "data.new" / "base").mkdir(parents=True)
    server = EmbeddedPostgres(folder, SETTINGS)
    server.start()
    server.stop()

    assert not (folder / "data.new").exists()


def test_data_of_another_major_version_is_refused(server: EmbeddedPostgres) -> None:
    server.stop()
    (server._data / "PG_VERSION").write_text("15\n")

    with pytest.raises(PostgresUnavailable, match="of PostgreSQL 15, and this is 18"):
        server.start()


def test_a_server_that_cannot_start_gives_its_reason(folder: Path) -> None:
    good = EmbeddedPostgres(folder, SETTINGS)
    good.start()
    good.stop()
    server = EmbeddedPostgres(folder, {**SETTINGS, "shared_buffers": "nonsense"})

    with pytest.raises(PostgresUnavailable, match="shared_buffers"):
        server.start(timeout_s=2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_account_makes_data_that_it_opens_again(folder: Path, kind: str) -> None:
    folder.mkdir()
    record_account(folder / "account", _account(kind))
    server = EmbeddedPostgres(folder, SETTINGS)
    try:
        server.start()
    except PostgresUnavailable as error:
        _skip_unless_possible(error, kind)
    server.restart()
    owner = server._data.stat().st_uid
    server.stop()

    assert json.loads((folder / "account").read_text())["kind"] == kind
    assert owner == (NOBODY.pw_uid if "user" in kind else os.geteuid())


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_dies_with_a_killed_owner(folder: Path, kind: str) -> None:
    folder.mkdir()
    record_account(folder / "account", _account(kind))
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "libs")},
    )
    assert owner.stdout is not None
    line = owner.stdout.readline()
    if not line and kind == "namespace":
        owner.communicate()
        pytest.skip("user namespaces are forbidden here")
    processes = [psutil.Process(int(line))]
    processes += processes[0].children(recursive=True)
    owner.kill()
    owner.communicate()
    _, alive = psutil.wait_procs(processes, timeout=10)

    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.skipif(not IS_ROOT, reason="only root can close a folder to itself as nobody")
def test_root_finds_a_way_into_a_folder_that_is_closed_to_others(folder: Path) -> None:
    folder.parent.chmod(0o700)
    server = EmbeddedPostgres(folder, SETTINGS)
    server.start()
    answer = server.execute("SELECT 1")
    server.stop()

    assert answer == "1"
    assert json.loads((folder / "account").read_text())["kind"] in ("namespace", "searching-user")
    assert folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_an_ordinary_user_runs_it_as_itself_and_root_opens_the_same_data(folder: Path) -> None:
    # The interpreter itself may lie in a folder that is closed to others.
    nobody = Account("searching-user", NOBODY.pw_uid, NOBODY.pw_gid)
    os.chown(folder.parent, NOBODY.pw_uid, NOBODY.pw_gid)
    output = folder.parent / "output"
    with output.open("wb") as file:
        owner = start_child(
            [sys.executable, "-c", OWNER.replace("time.sleep(60)", "server.stop()"), str(folder)],
            environment={"PYTHONPATH": str(ROOT / "libs")},
            output=file,
            account=nobody,
            directory=ROOT,
        )
        code = owner.wait(60)
    assert code == 0, output.read_text()
    recorded = json.loads((folder / "account").read_text())
    server = EmbeddedPostgres(folder, SETTINGS)
    server.start()
    server.stop()

    assert recorded["kind"] == "self"
    assert folder.stat().st_uid == NOBODY.pw_uid


@pytest.mark.parametrize(
    "made_by, opened_by, taken",
    [
        (Account("self", 1000, 1000), 1000, "self"),
        (Account("user", 1000, 1000), 1000, "self"),
        (Account("user", 101, 104), 0, "user"),
        (Account("namespace", 101, 104), 0, "namespace"),
        (Account("self", 1000, 1000), 0, "searching-user"),
        (Account("self", 1000, 1000), 1001, None),
        (Account("namespace", 101, 104), 1000, None),
        (Account("user", 101, 104), 1000, None),
    ],
)
def test_data_is_opened_by_the_account_that_made_it_or_not_at_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made_by: Account,
    opened_by: int,
    taken: str | None,
) -> None:
    record_account(tmp_path / "account", made_by)
    monkeypatch.setattr("os.geteuid", lambda: opened_by)

    if taken is None:
        with pytest.raises(PostgresUnavailable, match="cannot be opened as uid"):
            recorded_account(tmp_path / "account")
    else:
        account = recorded_account(tmp_path / "account")
        assert account is not None
        assert account.kind == taken


def test_a_program_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        child = start_child(["/nonexistent"], environment={}, output=output, directory=tmp_path)
        code = child.wait(10)

    assert code == 126
    assert "/nonexistent cannot be started" in (tmp_path / "output").read_text()


def test_a_child_starts_with_no_signal_held_back(tmp_path: Path) -> None:
    script = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with (tmp_path / "output").open("wb") as output:
            child = start_child([sys.executable, "-c", script], environment={}, output=output)
            child.wait(10)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert (tmp_path / "output").read_text() == "set()\n"


def test_pages_are_kept_in_an_eighth_of_the_memory_that_may_be_used(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    sizes = {}
    for mebibytes in (512, 2048, 4096, 1 << 30):
        limit.write_text(f"{mebibytes << 20}\n")
        sizes[mebibytes] = int(shared_buffers(limit).removesuffix("MB"))
    limit.write_text("max\n")

    assert (sizes[512], sizes[2048]) == (128, 256)
    assert sizes[2048] <= sizes[4096] <= sizes[1 << 30] <= 1024
    assert shared_buffers(limit) == shared_buffers(tmp_path / "none") == f"{sizes[1 << 30]}MB"

"""A ledger as a process of its own, over a real database, that a test may kill."""

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import grpc

from chassis.children import start_child, stop_child
from chassis.identity import SCOPES, Identity, TokenIssuer, generate_keys
from chassis.signing import ensure_key_pair
from testkit.postgres import TestDatabase
from tests.properties.driver import Ledger

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 40
# Longer than the longest of the long proofs.
TOKEN_SECONDS = 6 * 3600


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """Processes of one ledger over one database, and credentials for them.

    `settings` are further variables of their environment.
    """

    def __init__(self, database: TestDatabase, settings: Mapping[str, str] | None = None) -> None:
        self.database = database
        self.settings = dict(settings or {})
        self._folder = tempfile.TemporaryDirectory(prefix="loyalty-ledger-")
        self.folder = Path(self._folder.name)
        private, public = generate_keys()
        self._issuer = TokenIssuer(private)
        (self.folder / "jwks.json").write_text(json.dumps(public))
        ensure_key_pair(self.folder / "checkpoint.key", self.folder / "checkpoint.pub")
        self.processes: list[LedgerProcess] = []

    def token(self, organization: str = "acme", *scopes: str, actor: str = "tester") -> str:
        """A credential; without scopes, one that may do everything but speak as a member."""
        allowed = frozenset(scopes) or SCOPES - {"me"}
        identity = Identity(organization, allowed, actor)
        return self._issuer.issue(identity, lifetime_seconds=TOKEN_SECONDS)

    def start(self, port: int = 0) -> "LedgerProcess":
        """Starts one more process, on a free port or this one, and waits until it serves."""
        process = LedgerProcess(self, len(self.processes), port)
        self.processes.append(process)
        process.wait()
        return process

    def stop(self) -> None:
        """Ends all processes."""
        for process in self.processes:
            process.stop()
        self._folder.cleanup()


class LedgerProcess:
    """One process of the ledger."""

    def __init__(self, cluster: Cluster, number: int, port: int = 0) -> None:
        self.cluster = cluster
        self.address = f"127.0.0.1:{port or free_port()}"
        self.log = cluster.folder / f"ledger-{number}.log"
        self.start()

    def start(self) -> None:
        """Starts the process; again, at the same address, where it was killed."""
        cluster = self.cluster
        environment = {
            **{name: text for name, text in os.environ.items() if "LOYALTY" not in name},
            "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
            "LOYALTY_HOST": "127.0.0.1",
            "LOYALTY_LEDGER_PORT": self.address.rpartition(":")[2],
            "LOYALTY_LEDGER_DSN": cluster.database.dsn,
            "LOYALTY_LEDGER_MIGRATION_DSN": cluster.database.owner_dsn,
            "LOYALTY_CHECKPOINT_PATH": str(cluster.folder / "checkpoints"),
            "LOYALTY_CHECKPOINT_KEY_PATH": str(cluster.folder / "checkpoint.key"),
            "LOYALTY_JWKS_PATH": str(cluster.folder / "jwks.json"),
            "LOYALTY_ACCESS_LOG_SAMPLE": "0",
            **cluster.settings,
        }
        with self.log.open("ab") as output:
            self.process = start_child(
                [sys.executable, "-m", "services.ledger"],
                environment=environment,
                output=output,
                directory=ROOT,
            )

    def wait(self) -> None:
        """Waits until the port answers; fails with the process's last words."""
        deadline = time.monotonic() + START_SECONDS
        with grpc.insecure_channel(self.address) as channel:
            ready = grpc.channel_ready_future(channel)
            while time.monotonic() < deadline and self.alive():
                try:
                    ready.result(timeout=0.5)
                except grpc.FutureTimeoutError:
                    continue
                else:
                    return
        raise RuntimeError(f"the ledger does not serve:\n{self.log.read_text()[-4000:]}")

    def connect(self, organization: str = "acme", actor: str = "tester") -> Ledger:
        """Stubs with a credential of an organization."""
        return Ledger(self.address, self.cluster.token(organization, actor=actor))

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it in order."""
        stop_child(self.process, ((signal.SIGTERM, 15.0),))

    def faults(self) -> list[str]:
        """Lines of its log that tell of a fault."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or '"FAULT"' in line]

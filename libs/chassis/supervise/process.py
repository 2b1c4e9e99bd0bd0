"""One supervised process: started, started again when it dies, stopped."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health_pb2,
    health_pb2_grpc,
)

from chassis.children import start_child
from chassis.supervise.tls import Certificates

LOG_BYTES_MAX = 16 * 1024 * 1024
HEALTH_TIMEOUT_S = 2.0


@dataclass
class Backoff:
    """How long to wait before the next start: doubling to a bound, forgotten after a good while."""

    first_s: float = 0.1
    most_s: float = 5.0
    forget_s: float = 30.0
    failures: int = 0

    def failed(self, lived_s: float) -> float:
        """Answer the seconds to wait after a process that lived so long."""
        self.failures = 0 if lived_s >= self.forget_s else self.failures
        self.failures += 1
        return float(min(self.most_s, self.first_s * 2 ** min(self.failures - 1, 16)))


class Process:
    """A service's process, with its log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
    ) -> None:
        self.name = name
        self.environment = dict(environment)
        self._command = command
        self._directory = directory
        self._log = log
        self._backoff = Backoff()
        self._started = 0.0
        self._next_start = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The running process's number."""
        return self._process.pid if self._process is not None else None

    @property
    def failures(self) -> int:
        """How many times in a row it died early."""
        return self._backoff.failures

    def start(self) -> None:
        """Start it, writing what it says behind what was said before."""
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            self._process = start_child(
                self._command,
                environment=self.environment,
                output=log,
                directory=self._directory,
            )
        self._started = time.monotonic()

    def tend(self, say: Callable[[str], None]) -> bool:
        """Note a death, start again when it is time for it; answers whether it was started."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            pause = self._backoff.failed(now - self._started)
            say(f"{self.name} ended ({_ending(self._process.returncode)}), starting it again")
            self._process = None
            self._next_start = now + pause
        if self._process is None and now >= self._next_start:
            self.start()
            return True
        return False

    def stop(self, seconds: float, wait: Callable[[float], bool]) -> None:
        """Ask it to end and wait; by force after `seconds` or when `wait` answers True."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() >= deadline or wait(0.05):
                process.kill()
                process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-15:])


def dial(address: str, certificates: Certificates | None) -> grpc.Channel:
    """A channel to a service on this machine, as services with these certificates take it."""
    options = [("grpc.enable_http_proxy", 0)]
    if certificates is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, certificates.credentials(), options)


def serving(address: str, certificates: Certificates | None = None) -> bool:
    """Answer whether the server at `address` says by `grpc.health.v1` that it serves."""
    with dial(address, certificates) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_S)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"

"""A suite as a process of its own, that a test may kill; it is watched by its recorded numbers."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from chassis.children import start_child, stop_child

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0


class SuiteProcess:
    """`command` with `LOYALTY_HOME` and nothing else of the caller's LOYALTY_ variables."""

    def __init__(
        self, home: Path, command: list[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self._read, write = os.pipe()
        inherited = {key: text for key, text in os.environ.items() if "LOYALTY" not in key}
        self.process = start_child(
            [sys.executable, *command],
            environment={
                **inherited,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
                "LOYALTY_HOME": str(home),
                **(environment or {}),
            },
            output=write,
            death_signal=signal.SIGTERM,
            directory=ROOT,
        )
        os.close(write)
        self.output = ""
        self.seen: list[psutil.Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        stop_child(self.process, ((signal.SIGTERM, 60.0),))
        os.close(self._read)

    def wait_for(self, text: str, seconds: float = START_S) -> None:
        """Wait until it has said `text`; what it said is in `output`."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            said = os.read(self._read, 65536) if ready else b""
            self.output += said.decode()
            if not said:
                raise AssertionError(f"not said in time: {text!r}\n{self.output}")

    def ready(self) -> Self:
        """Wait until everything serves, and remember the processes."""
        self.wait_for("ready")
        self.note_processes()
        return self

    def wait(self, seconds: float = START_S) -> int:
        """Wait for its end; answer the exit code and have all that it said."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.output}") from None
        while said := os.read(self._read, 65536):
            self.output += said.decode()
        return code

    def pids(self) -> dict[str, int]:
        """The processes that the suite recorded."""
        recorded: dict[str, int] = json.loads((self.home / "running.json").read_text())["processes"]
        return recorded

    def note_processes(self) -> None:
        """Remember the processes and what they started, to look for them later."""
        for pid in self.pids().values():
            process = psutil.Process(pid)
            self.seen += [process, *process.children(recursive=True)]

    def kill(self, name: str) -> int:
        """`kill -9` one process; answers its number."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_until_replaced(self, name: str, pid: int, seconds: float = 20.0) -> int:
        """Wait until `name` runs under another number, and answer it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.pids().get(name, pid)
            if now != pid and psutil.pid_exists(now):
                return now
            time.sleep(0.05)
        raise AssertionError(f"{name} was not started again")

    def left(self, seconds: float = 10.0) -> list[psutil.Process]:
        """The remembered processes that still run after `seconds`."""
        _, alive = psutil.wait_procs(self.seen, timeout=seconds)
        return [
            each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE
        ]

    def journal(self) -> list[str]:
        """What the dummies wrote down."""
        return (self.home / "journal").read_text().splitlines()

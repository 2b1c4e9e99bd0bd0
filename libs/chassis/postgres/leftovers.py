"""What a killed server leaves in its data folder, and how it is cleared away.

The caller holds the folder's lock, so whatever still runs there has lost its owner. A pid file
proves nothing: its number may be another program's by now, and Postgres would refuse to start.
"""

import os
import signal
import time
from pathlib import Path

# The server's own processes notice the death of their owner or of their parent well within this.
PATIENCE_S = 3.0
STEPS = ((None, PATIENCE_S), (signal.SIGQUIT, PATIENCE_S), (signal.SIGKILL, PATIENCE_S))


def clear(data: Path) -> None:
    """Wait for the processes that still run in `data`, end them if they stay, drop the pid file."""
    for number, seconds in STEPS:
        for process in processes_in(data):
            _signal(process, number)
        if _wait_until_empty(data, seconds):
            break
    if not processes_in(data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def processes_in(data: Path) -> list[int]:
    """Answer the processes whose working folder is `data`, as that of every Postgres process is."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            folder = Path(entry.path, "cwd").readlink()
        except OSError:
            continue
        if folder == data:
            found.append(int(entry.name))
    return found


def _signal(process: int, number: signal.Signals | None) -> None:
    if number is None:
        return
    try:
        os.kill(process, number)
    except OSError:
        return


def _wait_until_empty(data: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes_in(data):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True

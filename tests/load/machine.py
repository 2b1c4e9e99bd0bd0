"""On what it ran."""

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.load.stage import Stage

SHOWN = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers",
    "wal_buffers", "max_wal_size", "wal_compression", "io_method",
)  # fmt: skip


def describe(stage: Stage) -> dict[str, str]:
    """The machine, what else it did, and the settings of what was measured."""
    described = {
        "processor": f"{_processor()}, {os.cpu_count()} logical processors",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "one synced write of 8 KiB": f"{_sync_s(stage.folder) * 1e6:,.0f} µs",
        "processes that wanted to run when it began": f"{os.getloadavg()[0]:.1f}",
        "load generators": str(len(stage.generators)),
    }
    for name in SHOWN:
        described[f"Postgres {name}"] = stage.psql(f"SHOW {name}")
    return described


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _sync_s(folder: Path) -> float:
    """The median of a hundred, in the file system that the database is on."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for place in range(100):
            began = time.perf_counter()
            os.pwrite(file.fileno(), b"\0" * 8192, 8192 * place)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)

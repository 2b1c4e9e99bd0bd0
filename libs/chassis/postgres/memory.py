"""How much memory the embedded server keeps for its pages."""

import contextlib
import os
from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MEGABYTE = 1024 * 1024
SHARE = 8
LEAST_MB, MOST_MB = 128, 1024


def shared_buffers(limit: Path = _LIMIT) -> str:
    """An eighth of the memory that there is, between 128 MB and 1 GB, as Postgres takes it.

    The pages at the ends of all members' indexes should fit: whoever earns changes them. `limit` is
    the file that says what this process's group may use.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Without such a group there is no file, and without a limit it says "max".
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(limit.read_text()))
    megabytes = memory // SHARE // _MEGABYTE
    return f"{min(max(megabytes, LEAST_MB), MOST_MB)}MB"

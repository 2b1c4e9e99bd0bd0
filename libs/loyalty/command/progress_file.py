"""How far the import of a file has come, kept so that the next start skips what was acknowledged.

Losing it is harmless: ids come from the rows, and what was taken in is answered as replayed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def state_folder(environ: Mapping[str, str]) -> Path:
    """`$LOYALTY_STATE`, else a folder of the command's where this system keeps such things."""
    if chosen := environ.get("LOYALTY_STATE"):
        return Path(chosen)
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or ".") / ".local" / "state"
    return Path(base) / "loyalty"


@dataclass(frozen=True, slots=True)
class ProgressFile:
    """The progress of one import; `of` says whose it is."""

    path: Path

    @staticmethod
    def of(folder: Path, *identity: object) -> "ProgressFile":
        """The progress of whatever has this identity: file, program, meaning of the columns."""
        text = json.dumps([str(part) for part in identity])
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        return ProgressFile(folder / "imports" / f"{name}.json")

    def read(self) -> dict[str, Any]:
        """What was kept; nothing where there is nothing that can be read."""
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep this instead: all of it or none, whenever the process ends. OSError is harmless."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(value), encoding="utf-8")
        fresh.replace(self.path)

    def forget(self) -> None:
        """The import is complete: the next one asks the suite about every row."""
        self.path.unlink(missing_ok=True)

"""How far the import of a file has come, kept so that the next start skips what was acknowledged.

Losing it is harmless: ids come from the rows, and what was taken in is answered as replayed.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self


def state_folder(environ: Mapping[str, str]) -> Path:
    """`$LOYALTY_STATE`, else a folder of the command's where this system keeps such things."""
    if chosen := environ.get("LOYALTY_STATE"):
        return Path(chosen)
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or ".") / ".local" / "state"
    return Path(base) / "loyalty"


@dataclass(slots=True)
class Totals:
    """What became of a file's rows so far; each kind of import counts more: numbers, counters."""

    rows: int = 0
    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """The totals as JSON has them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The totals that `to_json` made; none where it is something else."""
        totals = cls()
        try:
            for each in fields(cls):
                kept = value[each.name]
                if isinstance(getattr(totals, each.name), Counter):
                    kept = Counter({str(name): int(count) for name, count in kept.items()})
                else:
                    kept = int(kept)
                setattr(totals, each.name, kept)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()
        return totals


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

    def keep(self, totals: Totals, say: Callable[[str], None]) -> None:
        """Keep these: all of them or none, whenever the process ends. `say` why that cannot be."""
        fresh = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(totals.to_json()), encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            say(f"the progress cannot be kept in {self.path}: {error.strerror}")

    def forget(self) -> None:
        """The import is complete: the next one asks the suite about every row."""
        with suppress(OSError):
            self.path.unlink()

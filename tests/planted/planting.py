"""Puts a bug into modules while they are imported; nothing on the disk changes."""

import importlib.machinery
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(__file__).with_name("site")


@dataclass(frozen=True)
class Change:
    """In a module, what stands there once, and what stands there instead."""

    module: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Bug:
    """What somebody did, and the check that must catch it; `often` in every run of the tests."""

    name: str
    changes: tuple[Change, ...]
    check: str
    often: bool = False


def environment(bug: Bug) -> dict[str, str]:
    """What a process needs in its environment to have the bug."""
    return {
        "PLANTED_BUG": bug.name,
        "PYTHONPATH": f"{SITE}:{ROOT}:{ROOT / 'libs'}",
        # What is compiled with a bug in it must not be found by anybody else.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def changed(source: str, changes: Sequence[Change]) -> str:
    """A module's source with the bug in it; fails where the code is another one by now."""
    for change in changes:
        found = source.count(change.right)
        if found != 1:
            raise LookupError(f"{change.module} has {found} times, not once:\n{change.right}")
        source = source.replace(change.right, change.wrong)
    return source


class _Planter(SourceFileLoader):
    def __init__(self, name: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(name, path)
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType:
        """The code of the changed source, never a cached one."""
        path = self.get_filename(fullname)
        source = changed(Path(path).read_text(), self._changes)
        return compile(source, path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module with its changes, or None for all others."""
        changes = [change for change in self._bug.changes if change.module == fullname]
        if not changes:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None, fullname
        assert isinstance(spec.loader, importlib.machinery.SourceFileLoader), fullname
        spec.loader = _Planter(fullname, spec.loader.path, changes)
        return spec


def plant(name: str) -> None:
    """From now on modules of the bug of this name are imported with it."""
    from tests.planted.bugs import BUGS, FOLLOWER_BUG

    (bug,) = [bug for bug in (*BUGS, FOLLOWER_BUG) if bug.name == name]
    sys.meta_path.insert(0, _Finder(bug))

"""The wheel, its dependencies, and the lock."""

import re
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.tidy.source import BIN, ROOT, run

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()

IMPORT_ALL = """
import importlib, pathlib, sys
wheel = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(wheel))

class Absent:
    # As if what the wheel does not ask for were not installed.

    names = set(sys.argv[2].split())

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
for path in sorted(wheel.rglob("*.py")):
    parts = path.relative_to(wheel).with_suffix("").parts
    importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
import loyalty
assert loyalty.__file__.startswith(str(wheel)), loyalty.__file__
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(BIN / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert built.returncode == 0, built.stdout
    (path,) = folder.glob("*.whl")
    return path


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_the_stubs_the_client_and_the_command_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    version = PROJECT["project"]["version"]

    assert tops == {"loyalty", "buf", f"loyalty-{version}.dist-info"}
    assert {
        "loyalty/py.typed",
        "loyalty/client.py",
        "loyalty/command/__init__.py",
        "loyalty/ledger/v1/ledger_pb2_grpc.pyi",
        "buf/validate/validate_pb2.py",
        f"loyalty-{version}.dist-info/licenses/LICENSE",
    } <= set(names(wheel))
    assert [name for name in names(wheel) if name.endswith((".pyc", ".proto"))] == []


def test_the_wheel_imports_without_the_servers(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    allowed = closure(PROJECT["project"]["dependencies"]) | {"loyalty"}
    absent = {
        name
        for name, owners in metadata.packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & allowed
    }
    done = run(BIN / "python", "-c", IMPORT_ALL, tmp_path, " ".join(absent), cwd=tmp_path)

    assert {"asyncpg", "sqlalchemy", "starlette", "structlog"} <= absent
    assert "grpc" not in absent
    assert done.returncode == 0, done.stdout


def closure(requirements: list[str]) -> set[str]:
    """The distributions that installing these brings, by their canonical names."""
    found: set[str] = set()
    waiting = [Requirement(one) for one in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += [Requirement(text) for text in metadata.requires(one.name) or ()]
    return found


def test_generated_code_never_meets_an_older_runtime() -> None:
    floors = {
        one.name: next(iter(one.specifier)).version
        for one in map(Requirement, PROJECT["project"]["dependencies"])
    }
    stub = (ROOT / "libs/loyalty/ledger/v1/ledger_pb2_grpc.py").read_text()
    message = (ROOT / "libs/loyalty/ledger/v1/ledger_pb2.py").read_text()
    grpc = re.search(r"GRPC_GENERATED_VERSION = '(.+)'", stub)
    protobuf = re.search(r"Protobuf Python Version: (.+)", message)

    assert grpc
    assert protobuf
    assert Version(floors["grpcio"]) >= Version(grpc[1])
    assert Version(floors["protobuf"]) >= Version(protobuf[1])


def test_the_lock_has_hashes_and_names_no_host() -> None:
    pins = re.findall(r"^[A-Za-z0-9._-]+(?:\[[^]]*\])?==\S+", LOCK, re.MULTILINE)
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]

    assert "://" not in LOCK
    assert "index-url" not in LOCK
    assert len(pins) == len(blocks) > 50
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_satisfies_what_the_project_asks_for() -> None:
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", LOCK, re.MULTILINE)
    pinned: dict[str, set[str]] = {}
    for name, version in found:
        pinned.setdefault(canonicalize_name(name), set()).add(version)
    project = PROJECT["project"]
    asked = [
        *project["dependencies"],
        *project["optional-dependencies"]["server"],
        *PROJECT["dependency-groups"]["dev"],
    ]
    unmet = [
        text
        for text in asked
        if not any(
            Requirement(text).specifier.contains(version)
            for version in pinned.get(canonicalize_name(Requirement(text).name), ())
        )
    ]

    assert unmet == []

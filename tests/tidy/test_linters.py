"""Each linter of `make check` is shown one planted violation, and fails."""

import shutil
import tomllib
from pathlib import Path

import pytest

from tests.tidy.source import BIN, ROOT, SERVICES, run

# A small project with all rooms, on which the import rules of pyproject.toml are tried.
ROOMS = ("__main__", "settings", "rpc", "jobs", "operations", "store", "peers", "domain")
CLEAN = {
    "libs/loyalty/__init__.py": "",
    "libs/kernel/__init__.py": "",
    "libs/chassis/__init__.py": "import kernel\nimport loyalty",
    "libs/testkit/__init__.py": "import chassis",
    "services/__init__.py": "",
    **{
        f"services/{service}/{room}.py": "" for service in SERVICES for room in ("__init__", *ROOMS)
    },
    "services/gateway/http.py": "import services.gateway.operations",
    "services/ledger/operations.py": "import services.ledger.store",
    "services/ledger/store.py": "import asyncpg\nimport services.ledger.domain",
}
PLANTED = {
    "Services never import each other": ("gateway/peers.py", "import services.ledger.domain"),
    "Inside a service, imports go down": ("ledger/store.py", "import services.ledger.rpc"),
    "Domains and kernel are pure": ("ledger/domain.py", "import asyncio"),
    "SQL only in store": ("ledger/operations.py", "import sqlalchemy"),
    "Protobuf only in rpc": ("ledger/operations.py", "from google.protobuf import message"),
    "Services rest on the chassis": ("../libs/chassis/__init__.py", "import services.ledger"),
}


def plant(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def lint_imports(folder: Path) -> dict[str, str]:
    """What import-linter says in a folder: contract → KEPT or BROKEN."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    done = run(
        BIN / "lint-imports", "--no-cache", "--no-logo",
        cwd=folder, PYTHONPATH=f"{folder}:{folder}/libs", COLUMNS="200",
    )  # fmt: skip
    verdicts = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    found = {line[0]: line[1] for line in verdicts if line[-1] in {"KEPT", "BROKEN"}}
    assert len(found) == len(PLANTED), done.stdout
    return found


def test_every_service_is_under_the_import_rules() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    named = {rule["id"]: rule.get("modules") or rule.get("containers") for rule in rules}
    services = [f"services.{service}" for service in SERVICES]

    assert named["services"] == services
    assert named["rooms"] == services


def test_the_import_rules_hold_of_a_clean_house(tmp_path: Path) -> None:
    plant(tmp_path, CLEAN)

    assert set(lint_imports(tmp_path).values()) == {"KEPT"}


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_import_breaks_its_rule(tmp_path: Path, rule: str) -> None:
    where, statement = PLANTED[rule]
    plant(tmp_path, CLEAN)
    with (tmp_path / "services" / where).open("a") as file:
        file.write(f"{statement}\n")
    verdicts = lint_imports(tmp_path)

    assert [verdict for name, verdict in verdicts.items() if name.startswith(rule)] == ["BROKEN"]


def test_a_room_that_has_no_place_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, {**CLEAN, "services/ledger/utils.py": ""})

    assert "BROKEN" in lint_imports(tmp_path).values()


@pytest.mark.parametrize(
    "command,planted",
    [
        pytest.param(("ruff", "check"), '"""Doc."""\n\nimport os\n', id="an unused import"),
        pytest.param(("ruff", "check"), "def f(x: int) -> int:\n    return x\n", id="no docstring"),
        pytest.param(("ruff", "format", "--check"), '"""Doc."""\nx = {  "a":1 }\n', id="format"),
        pytest.param(("mypy",), '"""Doc."""\n\nx: int = "a"\n', id="a wrong type"),
        pytest.param(
            ("mypy",),
            "from loyalty.ledger.v1.ledger_pb2 import EarnRequest\n\nEarnRequest(points='5')\n",
            id="a wrong type in a message",
        ),
    ],
)
def test_planted_code_is_refused(tmp_path: Path, command: tuple[str, ...], planted: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(planted)
    options = {"mypy": "--config-file", "ruff": "--config"}[command[0]]
    name, *more = command
    done = run(BIN / name, *more, options, ROOT / "pyproject.toml", path)

    assert done.returncode == 1, done.stdout


GOOD_FIELD = "  // Output only. True where nothing disagrees.\n  bool ok = 1;\n"


@pytest.mark.parametrize(
    "command,before,after,said",
    [
        pytest.param(
            ("lint",),
            GOOD_FIELD,
            "  bool ok = 1;\n",
            "non-empty comment",
            id="a field without a comment",
        ),
        pytest.param(
            ("lint",),
            GOOD_FIELD,
            GOOD_FIELD.replace("bool ok", "bool isOk"),
            "lower_snake_case",
            id="a name in the wrong case",
        ),
        pytest.param(
            ("format", "--diff", "--exit-code", "--path", "protos/loyalty"),
            GOOD_FIELD,
            GOOD_FIELD.replace("  bool", "bool"),
            "bool ok = 1;",
            id="a wrong indentation",
        ),
        pytest.param(
            ("breaking", "--against", str(ROOT / "tests/tidy/record.binpb")),
            GOOD_FIELD,
            GOOD_FIELD.replace("bool ok = 1", "string ok = 1"),
            "ok",
            id="a field of another type",
        ),
        pytest.param(
            ("breaking", "--against", str(ROOT / "tests/tidy/record.binpb")),
            GOOD_FIELD,
            "",
            "ok",
            id="a field that is gone",
        ),
    ],
)
def test_a_planted_proto_is_refused(
    tmp_path: Path, command: tuple[str, ...], before: str, after: str, said: str
) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    clean = run(BIN / "buf", *command, cwd=tmp_path)
    path = tmp_path / "protos/loyalty/ledger/v1/ledger.proto"
    text = path.read_text()
    path.write_text(text.replace(before, after, 1))
    planted = run(BIN / "buf", *command, cwd=tmp_path)

    assert before in text
    assert clean.returncode == 0, clean.stdout
    assert planted.returncode != 0
    assert said in planted.stdout


def test_a_bare_make_lists_the_targets() -> None:
    listed = {line.split()[1] for line in run("make").stdout.splitlines() if line.strip()}

    assert {"venv", "run", "test", "check", "generate", "lock", "bench", "clean"} <= listed

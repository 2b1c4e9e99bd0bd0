"""Where the code of this project is, for the tests that read it."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVICES = tuple(sorted(path.parent.name for path in ROOT.glob("services/*/rpc")))


def run(*command: str | Path, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a tool, both outputs in one; its exit code is the caller's to look at."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


def python_files() -> Iterator[Path]:
    """Every Python file that is written by hand."""
    for folder in ("libs", "services", "tests", "deploy"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_pb2" not in path.name:
                yield path


def pure_files() -> Iterator[Path]:
    """The files of the kernel and of the domains."""
    yield from sorted((ROOT / "libs/kernel").rglob("*.py"))
    for service in SERVICES:
        yield from sorted((ROOT / "services" / service / "domain").rglob("*.py"))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute or a name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else f"?.{node.attr}"
    return ""

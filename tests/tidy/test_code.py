"""Rules of the house that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

from tests.tidy.source import ROOT, dotted, pure_files, python_files, run

FILE_LINES = 400
FUNCTION_LINES = 70

# What may be longer, and why.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

# Modules that read a clock or draw at random, or that reach outside.
IMPURE_MODULES = {
    "asyncio", "glob", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil",
    "socket", "subprocess", "sys", "tempfile", "threading", "time",
}  # fmt: skip
# Calls that read a clock or draw at random, by the last part of their name.
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "open", "input", "hash"}
IMPURE_NAMES_OF = {"uuid": {"uuid1", "uuid4", "getnode"}}


def impurities(source: str) -> list[tuple[int, str]]:
    """Where a pure module is not: (line, what) for imports of and calls to the outside."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [
                (node.lineno, alias.name)
                for alias in node.names
                if alias.name.split(".")[0] in IMPURE_MODULES
            ]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            bad = IMPURE_NAMES_OF.get(module, set())
            if module in IMPURE_MODULES or bad & {alias.name for alias in node.names}:
                found.append((node.lineno, module))
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in IMPURE_CALLS:
            found.append((node.lineno, dotted(node.func)))
    return found


def long_functions(source: str) -> list[tuple[str, int]]:
    """The functions that are longer than a screen: (name, lines)."""
    return [
        (node.name, lines)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_domains_and_kernel_have_no_clock_no_randomness_and_no_io() -> None:
    files = list(pure_files())
    found = [
        f"{name_of(path)}:{line}: {what}"
        for path in files
        for line, what in impurities(path.read_text())
    ]

    assert files
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "import time",
        "import os.path",
        "from random import choice",
        "from uuid import uuid4",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.date.today()",
        "import uuid\nx = uuid.uuid4()",
        "def f(z):\n    return z.clock().now()",
        "x = open('f')",
        "x = hash('a')",
    ],
)
def test_a_planted_impurity_is_found(planted: str) -> None:
    assert impurities(planted)


def test_an_argument_called_now_is_pure() -> None:
    assert impurities("from uuid import UUID\ndef f(context, now):\n    return context.now") == []


def test_files_fit_a_sitting() -> None:
    long = {
        name_of(path): lines
        for path in python_files()
        if (lines := len(path.read_text().splitlines())) > FILE_LINES
    }

    assert {name: lines for name, lines in long.items() if name not in LONG_FILES} == {}
    assert set(LONG_FILES) <= set(long), "a reason without a long file"


def test_functions_fit_a_screen() -> None:
    long = {
        f"{name_of(path)}:{name}": lines
        for path in python_files()
        for name, lines in long_functions(path.read_text())
    }

    assert {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS} == {}
    assert set(LONG_FUNCTIONS) <= set(long), "a reason without a long function"


def test_a_planted_long_function_is_found() -> None:
    body = "    pass\n" * FUNCTION_LINES

    assert long_functions(f"def f():\n{body}") == [("f", FUNCTION_LINES + 1)]
    assert long_functions(f"def f():\n{body[9:]}") == []


# Words that have another word in this project, or that mark what is not finished.
WORDS = {
    r"\b(TO[D]O|FIX[M]E|XX[X])\b": "finish it",
    r"\bissue #?\d": "say why, not where it was asked for",
    r"\.\./[s]hared\b": "what is outside the repository",
    r"\b[Tt]enants?\b": "organization",
    r"\b[Ww]allets?\b": "account",
    r"\b[Ss]labs?\b": "tier",
    r"\b[Cc]oupons?\b": "voucher",
    r"\b[Cc]ustomers?\b": "member",
}
# Where a word is meant: (file, the word's replacement) → why.
MEANT = {
    (".ci/run", "what is outside the repository"): "the sample of purchases beside the checkout",
    ("tests/tidy/test_code.py", ""): "the table itself",
}


def wrong_words(text: str) -> list[tuple[int, str, str]]:
    """Words of the table above: (line, word, what to use instead)."""
    return [
        (text.count("\n", 0, match.start()) + 1, match.group(), instead)
        for pattern, instead in WORDS.items()
        for match in re.finditer(pattern, text)
    ]


def test_the_projects_words_are_used() -> None:
    listed = run("git", "ls-files", "-z").stdout.split("\0")
    found = []
    for name in filter(None, listed):
        path = ROOT / name
        vendored = name.startswith(
            ("protos/buf/", "protos/google/", "services/gateway/http/static")
        )
        if vendored or name == "LICENSE" or (name, "") in MEANT or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name}:{line}: {word}: {instead}"
            for line, word, instead in wrong_words(text)
            if (name, instead) not in MEANT
        ]

    assert found == []


def test_a_planted_word_is_found() -> None:
    assert wrong_words("a\nthe tenant's") == [(2, "tenant", "organization")]

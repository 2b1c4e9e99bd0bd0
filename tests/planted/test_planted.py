"""Tests of the tests: bugs are planted on purpose, and each is caught.

Some in every run, all of them with `HYPOTHESIS_PROFILE=long`.
"""

from collections.abc import Iterator

import grpc
import pytest

from testkit.postgres import TestPostgres
from tests.planted.bugs import BUGS, FOLLOWER_BUG
from tests.planted.checks import CHECKS
from tests.planted.planting import ROOT, Bug, Change, changed, environment
from tests.properties.effort import LONG
from tests.properties.ledger_process import Cluster
from tests.properties.model_shapes import Refused

PLANTED = [bug for bug in BUGS if LONG or bug.often]
# What a check may raise: it saw something wrong, or was refused or failed where it was not to be.
FOUND = (AssertionError, Refused, grpc.RpcError)


def test_there_are_bugs_of_many_kinds() -> None:
    assert len(BUGS) >= 15
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert {bug.check for bug in BUGS} == set(CHECKS), "a check that catches nothing"


@pytest.mark.parametrize("bug", [*BUGS, FOLLOWER_BUG], ids=lambda bug: bug.name)
def test_a_bug_is_planted_in_code_that_is_there(bug: Bug) -> None:
    for module in {change.module for change in bug.changes}:
        source = (
            ROOT / f"{module.replace('.', '/')}.py",
            ROOT / f"libs/{module.replace('.', '/')}.py",
        )
        (path,) = [path for path in source if path.exists()]
        text = changed(path.read_text(), [each for each in bug.changes if each.module == module])
        compile(text, path, "exec")


def test_code_that_is_another_one_by_now_is_told() -> None:
    with pytest.raises(LookupError, match="0 times"):
        changed("x = 1\n", [Change("m", "x = 2", "x = 3")])


@pytest.fixture(scope="module")
def sound(postgres: TestPostgres) -> Iterator[Cluster]:
    """A ledger without any of the bugs."""
    yield from running(postgres, None)


def running(postgres: TestPostgres, bug: Bug | None) -> Iterator[Cluster]:
    """A ledger over a fresh database, with a bug or without."""
    database = postgres.fresh("ledger")
    cluster = Cluster(database, environment(bug) if bug else None)
    try:
        ledger = cluster.start().connect()
        ledger.register("acme")
        ledger.close()
        yield cluster
    finally:
        cluster.stop()
        postgres.drop(database.name)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_finds_nothing_in_a_ledger_without_bugs(sound: Cluster, name: str) -> None:
    CHECKS[name](sound)


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(postgres: TestPostgres, bug: Bug) -> None:
    for cluster in running(postgres, bug):
        with pytest.raises(FOUND) as caught:
            CHECKS[bug.check](cluster)
        print(f"{bug.name}: {caught.value.__class__.__name__}")

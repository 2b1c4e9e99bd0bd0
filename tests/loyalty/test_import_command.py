"""`loyalty events import` as a process, against a server that plays the suite."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.loyalty.import_kit import (
    Playing,
    Result,
    finished,
    playing,
    serving,
    start_import,
    status,
    totals,
)

MAP = "member=customer_id,time=date,amount=amount_usd"
HEADER = "customer_id,date,quantity,amount_usd\n"
LATER = Timestamp(seconds=1_000_000_000)
SERVICES = ("gateway", "ledger", "rules", "tiers", "audience")


@pytest.fixture
def suite() -> Iterator[Playing]:
    with playing() as suite:
        yield suite


def purchases(tmp_path: Path, count: int) -> Path:
    """`count` purchases of 1 dollar and some by 10 members, five a day, the days upside down."""
    lines = [
        f"m{n % 10},1997-{1 + n // 140:02}-{1 + n // 5 % 28:02},1,1.{n % 100:02}"
        for n in range(count)
    ]
    path = tmp_path / "purchases.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in reversed(lines)))
    return path


def begin(
    suite: Playing, tmp_path: Path, file: Path, *arguments: str, **environ: str
) -> "subprocess.Popen[str]":
    return start_import(
        dict.fromkeys(SERVICES, suite.port),
        tmp_path / "state",
        str(file),
        "--program=sandbox",
        f"--map={MAP}",
        *arguments,
        **{"LOYALTY_TOKEN": "the-token", **environ},
    )


def run(
    suite: Playing, tmp_path: Path, file: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return finished(begin(suite, tmp_path, file, *arguments, **environ))


def test_a_file_is_sent_in_order_with_the_clock_before_it(suite: Playing, tmp_path: Path) -> None:
    file = purchases(tmp_path, 300)
    done = run(suite, tmp_path, file, "--advance-clock", "--end=1998-01-01", "--batch=3")
    order = [event.effective_time.ToNanoseconds() for event in suite.order]

    assert done.returncode == 0, done.stderr
    assert totals(done.stdout) == {
        "rows": 300,
        "events taken in": 300,
        "replayed, in before": 0,
        "points given": 300,
    }
    assert done.stdout.splitlines()[-1].startswith("300 rows in ")
    assert order == sorted(order)
    assert max(len(batch) for batch in suite.batches) <= 3
    assert suite.moves[0] == "1997-01-02T00:00:00Z"
    # Every service is brought to the end; on the way the ledger alone has a clock to move.
    assert suite.moves[-4:] == ["1998-01-01T00:00:00Z"] * 4
    assert suite.moves[:-4] == sorted(set(suite.moves[:-4]))


def test_a_second_import_asks_about_everything_and_is_answered_that_it_is_there(
    suite: Playing, tmp_path: Path
) -> None:
    file = purchases(tmp_path, 40)
    run(suite, tmp_path, file, "--advance-clock")
    done = run(suite, tmp_path, file, "--advance-clock")

    assert totals(done.stdout) == {
        "rows": 40,
        "events taken in": 0,
        "replayed, in before": 40,
        "points given before": 40,
    }
    assert len(suite.taken) == 40
    assert sum(map(len, suite.batches)) == 80


def test_an_import_that_was_killed_goes_on_where_it_was_acknowledged(
    suite: Playing, tmp_path: Path
) -> None:
    file = purchases(tmp_path, 200)
    reached, killed = threading.Event(), threading.Event()

    def stand_still(number: int, request: Any, context: Any) -> dict[str, Any]:
        if number == 21:
            reached.set()
            killed.wait(60)
        return {}

    suite.before = stand_still
    process = begin(suite, tmp_path, file, "--batch=5", "--concurrency=1", "--advance-clock")
    assert reached.wait(60)
    process.kill()
    process.communicate()
    killed.set()
    done = run(suite, tmp_path, file, "--batch=5", "--concurrency=1", "--advance-clock")

    assert done.returncode == 0, done.stderr
    assert "going on after row 100 of 200" in done.stderr
    # The batch whose answer was lost was taken in by the one that was killed.
    assert totals(done.stdout) == {
        "rows": 200,
        "events taken in": 195,
        "replayed, in before": 5,
        "points given": 195,
        "points given before": 5,
    }
    assert len(suite.taken) == 200
    assert not list((tmp_path / "state").rglob("*.json"))


def test_without_the_kept_progress_everything_is_asked_and_nothing_doubled(
    suite: Playing, tmp_path: Path
) -> None:
    suite.now = LATER
    file = purchases(tmp_path, 60)

    def refuse(number: int, request: Any, context: Any) -> dict[str, Any]:
        if number == 4:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return {}

    suite.before = refuse
    cut_short = run(suite, tmp_path, file, "--batch=10", "--concurrency=1", "--patience=1")
    assert cut_short.returncode == 4
    assert len(suite.taken) < 60
    for kept in (tmp_path / "state").rglob("*.json"):
        kept.unlink()
    done = run(suite, tmp_path, file, "--batch=10", "--concurrency=1")

    assert totals(done.stdout)["rows"] == 60
    assert len(suite.taken) == 60


def test_what_passes_is_sent_again(suite: Playing, tmp_path: Path) -> None:
    suite.now = LATER
    file = purchases(tmp_path, 60)

    def refuse(number: int, request: Any, context: Any) -> dict[str, Any]:
        if number in {2, 5}:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        if number == 3:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if number == 4:
            lost = status(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
            return {event.id: Result(status=lost) for event in request.events[3:]}
        return {}

    suite.before = refuse
    done = run(suite, tmp_path, file, "--batch=10", "--concurrency=1")

    assert done.returncode == 0, done.stderr
    assert totals(done.stdout)["events taken in"] == 60
    # Two lost calls, one that was refused, and the seven events of a batch that was half done.
    assert [len(batch) for batch in suite.batches] == [10, 10, 10, 10, 7, 7, 10, 10, 10, 10]
    assert "trying again" in done.stderr


def test_a_service_that_starts_again_is_found_again(suite: Playing, tmp_path: Path) -> None:
    suite.now = LATER
    file = purchases(tmp_path, 100)
    other = Playing(now=LATER)  # type: ignore[abstract]

    def die(number: int, request: Any, context: Any) -> dict[str, Any]:
        if number == 6:
            context.abort(grpc.StatusCode.UNAVAILABLE, "dying")
        return {}

    suite.before = die
    with serving(other):
        ports = {**dict.fromkeys(SERVICES, other.port), "rules": suite.port}
        process = start_import(
            ports, tmp_path / "state", str(file), "--program=p", f"--map={MAP}", "--batch=5",
            "--concurrency=1", LOYALTY_TOKEN="the-token",
        )  # fmt: skip
        done = finished(process)

    assert done.returncode == 0, done.stderr
    assert len(suite.taken) == 100


def gone(number: int, request: Any, context: Any) -> dict[str, Any]:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone for good")
    raise AssertionError


def never_done(number: int, request: Any, context: Any) -> dict[str, Any]:
    late = Result(status=status(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED"))
    return {event.id: late for event in request.events}


@pytest.mark.parametrize("before,said", [(gone, "gone for good"), (never_done, "DEADLINE_PASSED")])
def test_patience_ends_and_says_where_it_stopped(
    suite: Playing, tmp_path: Path, before: Any, said: str
) -> None:
    suite.before = before
    began = time.monotonic()
    done = run(suite, tmp_path, purchases(tmp_path, 5), "--patience=2")

    assert done.returncode == 4
    assert said in done.stderr
    assert "stopped after row 0 of 5: the same command goes on" in done.stderr
    assert "Traceback" not in done.stderr
    # The patience of a run that was given none is far longer.
    assert time.monotonic() - began < 60


def test_refused_events_are_counted_by_reason_and_end_with_three(
    suite: Playing, tmp_path: Path
) -> None:
    frozen = Result(status=status(grpc.StatusCode.FAILED_PRECONDITION, "MEMBER_FROZEN"))
    suite.before = lambda number, request, context: {
        event.id: frozen for event in request.events if event.member == "m3"
    }
    done = run(suite, tmp_path, purchases(tmp_path, 50), "--advance-clock")

    assert done.returncode == 3, done.stderr
    assert totals(done.stdout) == {
        "rows": 50,
        "events taken in": 45,
        "replayed, in before": 0,
        "refused, MEMBER_FROZEN": 5,
        "points given": 45,
    }


def test_bad_rows_are_named_before_anything_is_sent(suite: Playing, tmp_path: Path) -> None:
    file = purchases(tmp_path, 10)
    file.write_text(file.read_text() + "m1,1997-01-32,1,5\nm1,1997-01-05,1,five\n")
    refused = run(suite, tmp_path, file)
    sent = list(suite.batches)
    skipped = run(suite, tmp_path, file, "--skip-bad", "--advance-clock")

    assert refused.returncode == 2
    assert "line 12, column date: '1997-01-32' is not a time" in refused.stderr
    assert "line 13, column amount_usd: 'five' is not an amount" in refused.stderr
    assert "nothing was sent: bad rows 2, good rows 10" in refused.stderr
    assert sent == []
    assert skipped.returncode == 0, skipped.stderr
    assert totals(skipped.stdout)["bad rows, skipped"] == 2
    assert len(suite.taken) == 10


def test_dates_are_local_to_the_program(suite: Playing, tmp_path: Path) -> None:
    suite.zone = "America/New_York"
    file = tmp_path / "one.csv"
    file.write_text(HEADER + "m,1997-07-04,1,5\n")
    done = run(suite, tmp_path, file, "--advance-clock")

    assert done.returncode == 0, done.stderr
    assert suite.order[0].effective_time.ToJsonString() == "1997-07-04T04:00:00Z"
    assert suite.moves[0] == "1997-07-04T04:00:00Z"


@pytest.mark.parametrize(
    "arguments,sandbox,said",
    [
        (("--end=1998-01-01",), True, "--end needs --advance-clock"),
        (("--advance-clock", "--end=1997-01-01"), True, "the last row is at 1997-01-02"),
        (("--advance-clock", "--end=later"), True, "'later' is not a time"),
        (("--advance-clock",), False, "is no sandbox"),
        (("--map=member=customer_id",), True, "time is missing"),
        (("--batch=1001",), True, "--batch"),
    ],
)
def test_wrong_usage_is_said_in_a_line(
    suite: Playing, tmp_path: Path, arguments: tuple[str, ...], sandbox: bool, said: str
) -> None:
    suite.sandbox = sandbox
    done = run(suite, tmp_path, purchases(tmp_path, 10), *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert suite.batches == []

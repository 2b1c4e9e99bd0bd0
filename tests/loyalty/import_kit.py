"""A server that plays the suite for `loyalty events import`, and the command as a process."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from loyalty.common.v1 import clock_pb2, clock_pb2_grpc
from loyalty.ledger.v1 import program_pb2, program_pb2_grpc
from loyalty.ledger.v1.resources_pb2 import Entry, Posting
from loyalty.rules.v1 import events_pb2, events_pb2_grpc

ROOT = Path(__file__).parents[2]
COMMAND = "from loyalty.command import main; main()"
Outcome = events_pb2.EventOutcome
Result = events_pb2.BatchSubmitEventsResult


def status(code: grpc.StatusCode, reason: str) -> status_pb2.Status:
    """A refusal as it is on the wire."""
    packed = Packed()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="loyalty"))
    return status_pb2.Status(code=code.value[0], message="no", details=[packed])


@dataclass
class Playing(
    events_pb2_grpc.EventServiceServicer,
    program_pb2_grpc.ProgramServiceServicer,
    clock_pb2_grpc.ClockServiceServicer,
):
    """Plays ledger, rules, tiers and audience: a point a dollar, and `before` may interfere.

    `before` is called with the number of each batch, from 1, and the batch; it may abort the call,
    or answer a status for single events by their ids.
    """

    sandbox: bool = True
    now: Timestamp = field(default_factory=lambda: Timestamp(seconds=852076800))
    zone: str = "UTC"
    before: Callable[[int, Any, Any], dict[str, Any]] = lambda number, request, context: {}
    taken: dict[str, events_pb2.Event] = field(default_factory=dict)
    order: list[events_pb2.Event] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def GetProgram(self, request: Any, context: Any) -> Any:
        return program_pb2.Program(
            program=request.program,
            sandbox=self.sandbox,
            now=self.now,
            create_time=Timestamp(seconds=7),
        )

    def GetProgramSettings(self, request: Any, context: Any) -> Any:
        return program_pb2.ProgramSettings(program=program_pb2.GeneralSettings(time_zone=self.zone))

    def GetNextDue(self, request: Any, context: Any) -> Any:
        return clock_pb2.GetNextDueResponse()

    def CatchUp(self, request: Any, context: Any) -> Any:
        with self.lock:
            self.now = max(self.now, request.time, key=lambda time: time.ToNanoseconds())
            self.moves.append(request.time.ToJsonString())
        return clock_pb2.CatchUpResponse(time=self.now, done=1)

    def BatchSubmitEvents(self, request: Any, context: Any) -> Any:
        with self.lock:
            self.batches.append([event.id for event in request.events])
            special = self.before(len(self.batches), request, context)
            results = [special.get(event.id) or self.take(event) for event in request.events]
        return events_pb2.BatchSubmitEventsResponse(results=results)

    def take(self, event: events_pb2.Event) -> events_pb2.BatchSubmitEventsResult:
        replayed = event.id in self.taken
        if not replayed:
            assert event.effective_time.ToNanoseconds() <= self.now.ToNanoseconds()
            self.taken[event.id] = event
            self.order.append(event)
        points = int(event.amount.amount.partition(".")[0])
        entries = [Entry(kind=Entry.EARNED, currency="points", points=points)] if points else []
        outcome = Outcome(
            event=event,
            state=Outcome.DONE,
            replayed=replayed,
            posting=Posting(entries=entries),
        )
        return Result(outcome=outcome)


@contextmanager
def playing() -> Iterator[Playing]:
    """The server, while the context lasts."""
    # What a test does not need answers UNIMPLEMENTED.
    suite = Playing()  # type: ignore[abstract]
    with serving(suite):
        yield suite


@contextmanager
def serving(suite: Playing, port: int = 0) -> Iterator[None]:
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    events_pb2_grpc.add_EventServiceServicer_to_server(suite, server)
    program_pb2_grpc.add_ProgramServiceServicer_to_server(suite, server)
    clock_pb2_grpc.add_ClockServiceServicer_to_server(suite, server)
    suite.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield
    server.stop(None).wait(5)


def start_import(
    ports: dict[str, int], state: Path, *arguments: str, **environ: str
) -> subprocess.Popen[str]:
    """Start `loyalty events import` with these ports by service, and its state in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "events", "import", *arguments],
        env={
            **kept,
            "PYTHONPATH": str(ROOT / "libs"),
            "LOYALTY_STATE": str(state),
            "COLUMNS": "100",
            **{f"LOYALTY_{name.upper()}_PORT": str(port) for name, port in ports.items()},
            **environ,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(
    process: "subprocess.Popen[str]", seconds: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a process, and have what it said."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {seconds} s\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def totals(stdout: str) -> dict[str, int]:
    """The numbers that an import ended with, by their names."""
    lines = [line.rsplit(None, 1) for line in stdout.splitlines() if not line.endswith("rows/s")]
    return {name: int(number.replace(",", "")) for name, number in lines}

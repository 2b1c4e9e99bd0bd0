"""How the command speaks: tables and answers to stdout, everything else to stderr."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from loyalty.client import LoyaltyRefusal
from loyalty.command.sending import PASSING

WRONG = 2
REFUSED = 3
UNREACHABLE = 4
# As the shell says it of whom SIGPIPE ended.
NOBODY_READS = 141
SHOWN = 20


class _Speaker(Console):
    """A console whose reader may leave."""

    def on_broken_pipe(self) -> None:
        """End the command."""
        nobody_reads()


out = _Speaker()
err = _Speaker(stderr=True)


class FirstLines:
    """Says the first lines of many of a kind to stderr, and of the others how many there are."""

    def __init__(self) -> None:
        self.count = 0

    def say(self, line: str) -> None:
        """Say a line, unless there were enough."""
        self.count += 1
        if self.count <= SHOWN:
            err.print(line, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Say how many were not said."""
        if self.count > SHOWN:
            err.print(f"… and {self.count - SHOWN:,} more")


def print_report(lines: Iterable[tuple[str, str]]) -> None:
    """Print what a job comes to: names and values, one line each."""
    for name, value in lines:
        out.print(f"{name:<28}{value:>14}", markup=False, highlight=False)


def nobody_reads() -> NoReturn:
    """End quietly: whoever read the output, such as `head`, has enough."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(NOBODY_READS)


def write(text: str) -> None:
    """Write to stdout what others read, as it is."""
    try:
        out.file.write(text)
        out.file.flush()
    except BrokenPipeError:
        nobody_reads()


def complain(text: str) -> None:
    """Say in a line what went wrong."""
    err.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def say_failures() -> Iterator[None]:
    """Say refusals and failures in a line, and exit with their code."""
    try:
        yield
    except LoyaltyRefusal as refusal:
        if refusal.code in PASSING:
            # Nothing of what was asked is refused: a service says that it cannot just now.
            complain(str(refusal))
            sys.exit(UNREACHABLE)
        complain(f"refused: {refusal}")
        for field, description in refusal.violations:
            err.print(f"  {field}: {description}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(REFUSED)
    except grpc.RpcError as error:
        code = getattr(error, "code", lambda: None)()
        details = getattr(error, "details", lambda: "")()
        name = code.name if isinstance(code, grpc.StatusCode) else "failed"
        complain(f"{name}: {details}")
        sys.exit(UNREACHABLE)
    except ValueError as error:
        complain(str(error))
        sys.exit(WRONG)
    except OSError as error:
        complain(f"{error.filename or 'the output'}: {error.strerror or error}")
        sys.exit(WRONG)


def moment(time: Timestamp) -> str:
    """A timestamp for people, in UTC to the second; empty where it is unset."""
    if not time.seconds and not time.nanos:
        return ""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")

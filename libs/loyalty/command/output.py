"""How the command speaks: tables and answers to stdout, everything else to stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from loyalty.client import LoyaltyRefusal

REFUSED = 3
UNREACHABLE = 4

out = Console()
err = Console(stderr=True)


@contextmanager
def say_failures() -> Iterator[None]:
    """Say refusals and failures in a line, and exit with their code."""
    try:
        yield
    except LoyaltyRefusal as refusal:
        err.print(f"refused: {refusal}", style="red", markup=False)
        for field, description in refusal.violations:
            err.print(f"  {field}: {description}", markup=False)
        sys.exit(REFUSED)
    except grpc.RpcError as error:
        code = getattr(error, "code", lambda: None)()
        details = getattr(error, "details", lambda: "")()
        name = code.name if isinstance(code, grpc.StatusCode) else "failed"
        err.print(f"{name}: {details}", style="red", markup=False)
        sys.exit(UNREACHABLE)
    except ValueError as error:
        err.print(str(error), style="red", markup=False)
        sys.exit(2)


def moment(time: Timestamp) -> str:
    """A timestamp for people, in UTC to the second; empty where it is unset."""
    if not time.seconds and not time.nanos:
        return ""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")

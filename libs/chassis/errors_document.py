"""Writes `docs/errors.md` from the table of reasons and the comments of their enum.

`python -m chassis.errors_document` prints it; a test compares it with the committed one.
"""

import re
import sys
from pathlib import Path
from typing import Final

from kernel.refusals import REASONS, SHARED_METADATA

PROTO: Final = Path(__file__).parents[2] / "protos" / "loyalty" / "errors" / "v1" / "errors.proto"

_HEAD = """# Errors

Every refusal, over gRPC and over HTTP, says why in the same words. Over gRPC it is a
`google.rpc.Status` (in `grpc-status-details-bin`) with exactly one `google.rpc.ErrorInfo`, whose
`domain` is `loyalty` and whose `reason` is one of the names below, the values of
`loyalty.errors.v1.Reason`. Over HTTP it is `application/problem+json` with the same `reason` and
`metadata`. Numbers in metadata are decimal strings. `INVALID_FIELD` also names every field in a
`google.rpc.BadRequest` (at most 16 of them). Any refusal may add {shared}.

A request that was refused applied nothing. `OVERLOADED`, `QUOTA_EXCEEDED` and
`DEPENDENCY_UNAVAILABLE` are worth sending again after a pause. After a `FAULT`, a
`DEPENDENCY_UNAVAILABLE` or a connection that was lost the outcome may be unknown: send the same
request with the same `request_id`, which is applied once however often it arrives. A `FAULT` says
nothing about its cause; its `id` finds the line in the log.

This page is made by `python -m chassis.errors_document`.

| reason | gRPC | HTTP | metadata | meaning |
|---|---|---|---|---|
"""


def meanings(proto: str) -> dict[str, str]:
    """The comment of each reason in the text of its proto, without what it says of metadata."""
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in proto.splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment.append(text.removeprefix("//").strip())
            continue
        value = re.match(r"([A-Z_]+) = \d+;", text)
        if value is not None and value[1] != "REASON_UNSPECIFIED":
            found[value[1]] = re.sub(r" Metadata: .*$", "", " ".join(comment))
        comment = []
    return found


def render(proto: str) -> str:
    """The whole page."""
    said = meanings(proto)
    rows = [
        f"| `{reason}` | `{row.code.name}` | {row.http} "
        f"| {' '.join(f'`{key}`' for key in row.metadata)} | {said[reason]} |"
        for reason, row in REASONS.items()
    ]
    shared = " and ".join(f"`{key}`" for key in SHARED_METADATA)
    return _HEAD.format(shared=shared) + "\n".join(rows).replace("|  |", "| |") + "\n"


if __name__ == "__main__":
    sys.stdout.write(render(PROTO.read_text()))

"""`loyalty checkpoint`: the ledger signs how far its history goes, and a copy is kept elsewhere."""

import hashlib
import os
from pathlib import Path
from typing import Annotated

import typer

from loyalty.calls import LoyaltyRefusal
from loyalty.command.clients import client_here
from loyalty.command.output import complain, moment, out
from loyalty.ledger.v1.proof_pb2 import (
    CreateCheckpointRequest,
    GetCheckpointRequest,
    ListCheckpointsRequest,
)
from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceStub

NOT_A_COPY = 1
PAGE = 100
# The first checkpoint of a large ledger reads all of it.
SECONDS = 900.0


def checkpoint(
    copy: Annotated[
        Path | None,
        typer.Option(help="Add what is new to a copy of the file, kept on another machine."),
    ] = None,
    begin_anew: Annotated[
        bool,
        typer.Option(help="Set the ledger's file aside: after a restored backup, or a lost file."),
    ] = False,
) -> None:
    """Have the ledger write a checkpoint; exit code 1 where a copy is of another file."""
    with client_here() as client:
        proof = client.stub(ProofServiceStub)
        request = CreateCheckpointRequest(begin_anew=begin_anew)
        made = proof.CreateCheckpoint(request, timeout=SECONDS)
        out.print(
            f"checkpoint {made.number:,} of {moment(made.create_time)} has the hash {made.hash}",
            soft_wrap=True,
            highlight=False,
        )
        if copy is not None and not _add(proof, copy):
            complain(f"{copy} is no copy of the ledger's file: one of them was changed")
            raise typer.Exit(NOT_A_COPY)


def _add(proof: ProofServiceStub, copy: Path) -> bool:
    """Append the lines that a copy has not; False where its last line is not the ledger's."""
    whole, newline, torn = (copy.read_text() if copy.exists() else "").rpartition("\n")
    lines = (whole + newline).splitlines()
    if torn:
        # The end of a copying that was cut short is copied again.
        if not _line(proof, len(lines) + 1).startswith(torn):
            return False
        os.truncate(copy, len((whole + newline).encode()))
    last = lines[-1] if lines else ""
    if lines and _line(proof, len(lines)) != last:
        return False
    request = ListCheckpointsRequest(after=len(lines), page_size=PAGE)
    with copy.open("a") as file:
        while True:
            answer = proof.ListCheckpoints(request)
            for each in answer.checkpoints:
                if not _follows(each.line, last):
                    return False
                file.write(f"{each.line}\n")
                last = each.line
            if not answer.next_page_token:
                return True
            request.page_token = answer.next_page_token


def _line(proof: ProofServiceStub, number: int) -> str:
    try:
        return str(proof.GetCheckpoint(GetCheckpointRequest(checkpoint=number)).line)
    except LoyaltyRefusal as refusal:
        if refusal.reason == "CHECKPOINT_NOT_FOUND":
            return ""
        raise


def _follows(line: str, last: str) -> bool:
    before = hashlib.sha256(last.encode()).hexdigest() if last else "0" * 64
    return f'"previous":"{before}"' in line

"""Requests of what is never part of a post: holds, activation, reversals, transfers, freezing.

The model names postings and holds by the request that made them and lots by the entry that did;
the ledger by ids of its own, which are looked up here.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loyalty.ledger.v1 import account_pb2, ledger_pb2
from tests.properties.messages import preconditions, stamp
from tests.properties.model_shapes import (
    ActivatePending,
    CaptureHold,
    Command,
    CreateHold,
    FreezeMember,
    Lone,
    ReleaseHold,
    ReversePosting,
    TransferPoints,
    UnfreezeMember,
)

OF_ACCOUNTS = FreezeMember | UnfreezeMember
# An id that nothing has.
NOTHING = str(uuid.UUID(int=0x0193_0000_0000_7000_8000_0000_0000_0001))


@dataclass(frozen=True)
class Names:
    """What the ledger calls what the model knows otherwise."""

    member: str
    postings: Mapping[tuple[str, str], str]
    lots: Mapping[str, int]

    def posting(self, request_id: str) -> str:
        """The posting, or hold, that a request made."""
        return self.postings.get((self.member, request_id), NOTHING)

    def lot(self, sequence: int) -> str:
        """The lot that an entry made."""
        return next((name for name, made in self.lots.items() if made == sequence), NOTHING)


def lone_request(program: str, command: Command, op: Lone, names: Names) -> Any:
    """The request of a command that is never part of a post."""
    module = account_pb2 if isinstance(op, OF_ACCOUNTS) else ledger_pb2
    request = getattr(module, f"{type(op).__name__}Request")(
        program=program,
        member=command.member,
        request_id=command.request_id,
        validate_only=command.validate_only,
        reference=command.reference,
        **_own_fields(op, names),
    )
    if command.effective_time is not None:
        request.effective_time.CopyFrom(stamp(command.effective_time))
    conditions = preconditions(command)
    if conditions is not None:
        request.preconditions.CopyFrom(conditions)
    return request


def _own_fields(op: Lone, names: Names) -> dict[str, Any]:
    if isinstance(op, CreateHold):
        deadline = stamp(op.expire_time)
        return {"points": op.points, "currency": op.currency, "expire_time": deadline}
    if isinstance(op, CaptureHold):
        return {"hold": names.posting(op.hold), "points": op.points}
    if isinstance(op, ReleaseHold):
        return {"hold": names.posting(op.hold)}
    if isinstance(op, ActivatePending):
        return {
            "currency": op.currency,
            "posting": names.posting(op.posting) if op.posting else "",
            "lot": names.lot(op.lot) if op.lot else "",
        }
    if isinstance(op, ReversePosting):
        return {
            "posting": names.posting(op.posting),
            "points": op.points,
            "parts": [ledger_pb2.ReversalPart(entry=entry, points=n) for entry, n in op.parts],
            "cause": ledger_pb2.ReversePostingRequest.Cause.Value(op.cause),
            "reason": op.reason,
        }
    if isinstance(op, TransferPoints):
        return {
            "recipient": op.recipient,
            "points": op.points,
            "currency": op.currency,
            "reason": op.reason,
        }
    return {"reason": op.reason}

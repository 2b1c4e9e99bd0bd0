"""Commands of methods that are no `PostRequest`: one operation, digested under the method's tag."""

import hashlib
from datetime import datetime
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import ledger_pb2
from services.ledger.domain.commands import Command, Operation
from services.ledger.operations.sight import Query
from services.ledger.rpc.calls import current_caller
from services.ledger.rpc.posts import expectation
from services.ledger.rpc.translate import instant

_NOT_COMPARED = ("program", "member", "request_id", "validate_only", "preconditions")


class NamedRequest(Protocol):
    """What every request of a writing method has."""

    program: str
    request_id: str
    validate_only: bool
    reference: str

    @property
    def preconditions(self) -> ledger_pb2.Preconditions:
        """What the caller's decision rested on."""

    @property
    def effective_time(self) -> Timestamp:
        """When it counts."""


_Request = TypeVar("_Request", bound=NamedRequest)


def named_command(request: _Request, tag: str, member: str, operation: Operation) -> Command:
    """The command of a request; its digest is of the tag and what is compared of the request."""
    caller = current_caller()
    preconditions = request.preconditions
    expected = preconditions.HasField("expected_version")
    return Command(
        organization=caller.organization,
        program=request.program,
        member=member,
        request_id=request.request_id,
        digest=_digest(request, tag),
        operations=(operation,),
        effective_time=given(request, "effective_time"),
        reference=request.reference,
        actor=caller.actor,
        expected_version=preconditions.expected_version if expected else None,
        expect=tuple(expectation(each) for each in preconditions.expect),
    )


def given(request: object, field: str) -> datetime | None:
    """The instant of a field, or None where it is unset."""
    assert isinstance(request, Message)
    return instant(getattr(request, field)) if request.HasField(field) else None


def stretch_of_time(request: object) -> tuple[datetime | None, datetime | None]:
    """The instants of `start_time` and `end_time`; INVALID_FIELD where they are the wrong way."""
    start, end = given(request, "start_time"), given(request, "end_time")
    if start is not None and end is not None and end < start:
        raise InvalidField(FieldViolation("end_time", "is before start_time"))
    return start, end


def entry_query(
    request: ledger_pb2.ListEntriesRequest | ledger_pb2.GetStatementRequest, *, newest_first: bool
) -> Query:
    """Which entries a request asks for."""
    start, end = stretch_of_time(request)
    kinds = tuple(sorted(set(request.kinds))) or None
    return Query(request.currency, request.attributed_member, start, end, kinds, newest_first)


def _digest(request: object, tag: str) -> bytes:
    assert isinstance(request, Message)
    canonical = type(request)()
    canonical.CopyFrom(request)
    for field in _NOT_COMPARED:
        canonical.ClearField(field)
    content = tag.encode() + canonical.SerializeToString(deterministic=True)
    return hashlib.sha256(content).digest()[:16]

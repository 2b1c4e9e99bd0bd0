"""The call that is being worked on: who asks, for whom, until when, and what its log line says."""

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chassis.tracing import HEADER, Trace

if TYPE_CHECKING:
    import grpc

    from chassis.identity import Identity


@dataclass(slots=True, eq=False)
class Call:
    """One call, made by the chain when it arrives and bound to its task until it is answered.

    `began` and `deadline` are of the monotonic clock, in seconds; `deadline` is None for a stream
    without one. `reason` is the refusal's, empty while nothing was refused.
    """

    method: str
    context: "grpc.aio.ServicerContext[Any, Any]"
    trace: Trace
    began: float
    authorization: str | None
    identity: "Identity | None" = None
    credential_expires: float = 0.0
    deadline: float | None = None
    code: str = "OK"
    reason: str = ""
    fields: dict[str, object] = field(default_factory=dict)


_CALL: ContextVar[Call | None] = ContextVar("loyalty_call", default=None)

bind_call = _CALL.set


def current_call() -> Call | None:
    """The call of this task; None in a job."""
    return _CALL.get()


def remaining_seconds(default: float = 10.0) -> float:
    """Seconds until this call's deadline, never below 0; `default` where there is none."""
    call = _CALL.get()
    if call is None or call.deadline is None:
        return default
    return max(0.0, call.deadline - time.monotonic())


def outgoing_metadata() -> tuple[tuple[str, str], ...]:
    """What a call to another service carries on: the caller's credential and the trace."""
    call = _CALL.get()
    if call is None or call.authorization is None:
        return outgoing_trace()
    return (("authorization", call.authorization), *outgoing_trace())


def outgoing_trace() -> tuple[tuple[str, str], ...]:
    """The trace that a call on this service's own account carries on; none in a job."""
    call = _CALL.get()
    return () if call is None else ((HEADER, call.trace.header()),)


def log_fields(**fields: object) -> None:
    """Add to this call's log line: ids only, never names, tokens or payloads."""
    call = _CALL.get()
    if call is not None:
        call.fields.update(fields)

"""Problems: how a refusal or a fault is answered over HTTP (RFC 9457)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc.aio
from google.rpc import status_pb2

from chassis.refusals import error_info, http_status, status_of_error, violations_of
from kernel.refusals import FieldViolation, InvalidField, Refusal

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a call was not done."""

    reason: str
    detail: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[FieldViolation] = ()

    @property
    def status(self) -> int:
        """The HTTP status of the reason."""
        return http_status(self.reason)

    def body(self, trace_id: str) -> bytes:
        """The body of the answer, as `application/problem+json`."""
        members: dict[str, object] = {
            "type": f"/problems#{self.reason}",
            "title": self.reason.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
            "metadata": dict(self.metadata),
            "traceId": trace_id,
        }
        if self.violations:
            members["violations"] = [
                {"field": one.field, "description": one.description} for one in self.violations
            ]
        # What a caller sent may be quoted, lone surrogates included.
        return json.dumps(members, ensure_ascii=False).encode("utf-8", "replace")


def problem_of_refusal(refusal: Refusal) -> Problem:
    """The problem of a refusal of our own."""
    violations = refusal.violations if isinstance(refusal, InvalidField) else ()
    return Problem(refusal.reason, refusal.message, refusal.metadata, violations)


def problem_of_error(error: grpc.aio.AioRpcError, target: str) -> Problem:
    """The problem of a call to the service `target` that failed."""
    return problem_of_status(status_of_error(error, target))


def problem_of_status(status: status_pb2.Status) -> Problem:
    """The problem of one of our statuses."""
    info = error_info(status)
    if info is None:
        return Problem("FAULT", "something broke on our side")
    return Problem(info.reason, status.message, dict(info.metadata), violations_of(status))

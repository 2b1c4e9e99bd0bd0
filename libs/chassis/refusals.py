"""Refusals of the chassis itself, and how any refusal becomes a `google.rpc.Status`.

Refusal (kernel)
├── Fault, DependencyUnavailable, Overloaded, DeadlinePassed, QuotaExceeded
├── MethodNotServed, RouteNotFound, UnreadableBody, MessageTooLarge
└── CredentialMissing, CredentialInvalid, ScopeMissing
"""

from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from kernel.refusals import REASONS, Code, FieldViolation, InvalidField, Refusal

DOMAIN: Final = "loyalty"
STATUS_KEY: Final = "grpc-status-details-bin"

# A status travels in HTTP/2 trailers, of which clients take 8 KiB; what a caller can make long is
# cut, so that the refusal itself always arrives.
_MESSAGE_CHARS_MAX = 240
_VALUE_CHARS_MAX = 200
_VIOLATIONS_MAX = 16
_VIOLATIONS_BYTES_MAX = 2000

GRPC_CODES: Final[dict[Code, grpc.StatusCode]] = {
    code: next(each for each in grpc.StatusCode if each.value[0] == code.value) for code in Code
}


class Fault(Refusal):
    """We broke. The id finds the line in the log; nothing else is said."""

    reason = "FAULT"

    def __init__(self, fault_id: str) -> None:
        super().__init__("something broke on our side", id=fault_id)


class DependencyUnavailable(Refusal):
    """A dependency cannot be reached just now; the same call may succeed later."""

    reason = "DEPENDENCY_UNAVAILABLE"

    def __init__(self, dependency: str) -> None:
        super().__init__(f"{dependency} cannot be reached just now", dependency=dependency)


class Overloaded(Refusal):
    """More calls than the service takes on at once."""

    reason = "OVERLOADED"

    def __init__(self) -> None:
        super().__init__("more calls than are taken on at once; back off and try again")


class DeadlinePassed(Refusal):
    """The deadline passed before the work was begun."""

    reason = "DEADLINE_PASSED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before the work was begun")


class QuotaExceeded(Refusal):
    """The caller spent its rate. `limit` is calls a second."""

    reason = "QUOTA_EXCEEDED"

    def __init__(self, limit: int, retry_after_seconds: int) -> None:
        super().__init__(
            "the rate of calls is spent", limit=limit, retry_after_seconds=retry_after_seconds
        )


class MethodNotServed(Refusal):
    """This server does not serve the method."""

    reason = "METHOD_NOT_SERVED"

    def __init__(self) -> None:
        super().__init__("this server does not serve the method")


class UnreadableBody(Refusal):
    """The body is not readable as the request's message."""

    reason = "UNREADABLE_BODY"

    def __init__(self, description: str, field: str | None = None) -> None:
        super().__init__(description, **({} if field is None else {"field": field}))


class RouteNotFound(Refusal):
    """No route has this path, or not with this HTTP method."""

    reason = "ROUTE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("no route has this path with this method")


class MessageTooLarge(Refusal):
    """The message is larger than the server takes. `limit` is bytes."""

    reason = "MESSAGE_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(f"a message may have {limit} bytes", limit=limit)


class CredentialMissing(Refusal):
    """No credential was given."""

    reason = "CREDENTIAL_MISSING"

    def __init__(self) -> None:
        super().__init__("a credential is needed: authorization: Bearer …")


class CredentialInvalid(Refusal):
    """The credential is unknown, malformed, expired or not meant for this service.

    Which of these is not said: it would only help someone who guesses.
    """

    reason = "CREDENTIAL_INVALID"

    def __init__(self) -> None:
        super().__init__("the credential is not valid here")


class ScopeMissing(Refusal):
    """The credential does not carry the scope that the method needs."""

    reason = "SCOPE_MISSING"

    def __init__(self, scope: str) -> None:
        super().__init__("the credential does not reach this method", scope=scope)


def status_of(refusal: Refusal) -> status_pb2.Status:
    """The status of a refusal: its code, its message, one `ErrorInfo`, and the field violations."""
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN)
    for key, value in refusal.metadata.items():
        info.metadata[key] = value[:_VALUE_CHARS_MAX]
    status = status_pb2.Status(
        code=refusal.row().code.value, message=refusal.message[:_MESSAGE_CHARS_MAX]
    )
    status.details.add().Pack(info)
    if isinstance(refusal, InvalidField):
        status.details.add().Pack(_bad_request(refusal.violations))
    return status


def _bad_request(violations: tuple[FieldViolation, ...]) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for violation in violations[:_VIOLATIONS_MAX]:
        bad.field_violations.add(
            field=violation.field[:_VALUE_CHARS_MAX],
            description=violation.description[:_VALUE_CHARS_MAX],
        )
        if bad.ByteSize() > _VIOLATIONS_BYTES_MAX:
            break
    return bad


def http_status(reason: str) -> int:
    """The HTTP status of a reason; 500 for one that is not in the table."""
    row = REASONS.get(reason)
    return 500 if row is None else row.http


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    """The `ErrorInfo` of one of our statuses; None where it is not one of ours."""
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            if _unpacked(detail, info) and info.domain == DOMAIN and info.reason in REASONS:
                return info
    return None


def violations_of(status: status_pb2.Status) -> tuple[FieldViolation, ...]:
    """The field violations of a status, none where it has none."""
    for detail in status.details:
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            if _unpacked(detail, bad):
                return tuple(
                    FieldViolation(each.field, each.description) for each in bad.field_violations
                )
    return ()


def _unpacked(
    detail: Any, into: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest
) -> bool:
    try:
        return detail.Unpack(into)
    except DecodeError:
        return False


def status_of_error(error: grpc.aio.AioRpcError, dependency: str) -> status_pb2.Status:
    """The status of a call to `dependency` that failed.

    A refusal of ours is passed on as it is. Anything else was made by the transport, and says no
    more than that the dependency could not be had; its text stays here.
    """
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            if error_info(status) is not None:
                return status
    made_by_transport: dict[grpc.StatusCode, Refusal] = {
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlinePassed(),
        grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded(),
        grpc.StatusCode.UNIMPLEMENTED: MethodNotServed(),
    }
    return status_of(made_by_transport.get(error.code(), DependencyUnavailable(dependency)))

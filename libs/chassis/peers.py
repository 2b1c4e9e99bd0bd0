"""Calls of other services, and what their refusals are here."""

from collections.abc import Container
from typing import Any, Final

import grpc.aio
from google.rpc import status_pb2

from chassis.call import remaining_seconds
from chassis.channels import Metadata
from chassis.refusals import (
    DeadlinePassed,
    DependencyUnavailable,
    Overloaded,
    error_info,
    status_of_error,
)
from kernel.refusals import REASONS, Refusal, passed_on

BUSY: Final = frozenset({DeadlinePassed.reason, Overloaded.reason})
"""What says of a service that it is there, though it has no time for this call."""


async def answer(
    method: Any,
    request: Any,
    metadata: Metadata,
    dependency: str,
    *,
    seconds: float | None = None,
    passed: Container[str] = REASONS,
) -> Any:
    """A unary call's answer within `seconds`, or what is left of the call that is worked on.

    Refused as `dependency` did where its reason is one of `passed`, and with
    DEPENDENCY_UNAVAILABLE otherwise: what it refuses about our own request is no word to whoever
    asked us.
    """
    timeout = remaining_seconds() if seconds is None else seconds
    try:
        return await method(request, timeout=timeout, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise refusal_of_error(error, dependency, passed) from error


def refusal_of_error(
    error: grpc.aio.AioRpcError, dependency: str, passed: Container[str] = REASONS
) -> Refusal:
    """What a call to `dependency` that failed means here; see `answer`."""
    return refusal_of_status(status_of_error(error, dependency), dependency, passed)


def refusal_of_status(
    status: status_pb2.Status, dependency: str, passed: Container[str] = REASONS
) -> Refusal:
    """The refusal in a status of another service; see `answer`."""
    info = error_info(status)
    if info is None or info.reason not in passed:
        return DependencyUnavailable(dependency)
    return passed_on(info.reason, status.message, dict(info.metadata))

"""What the refusals of other services are here."""

import grpc.aio
from google.rpc import status_pb2

from chassis.refusals import DependencyUnavailable, error_info, status_of_error
from kernel.refusals import Refusal
from services.rules.domain.refusals import passed_on


def refusal_of_error(error: grpc.aio.AioRpcError, dependency: str) -> Refusal:
    """What a call to `dependency` that failed means here."""
    return refusal_of_status(status_of_error(error, dependency), dependency)


def refusal_of_status(status: status_pb2.Status, dependency: str) -> Refusal:
    """The refusal in a status of another service."""
    info = error_info(status)
    if info is None:
        return DependencyUnavailable(dependency)
    return passed_on(info.reason, status.message, dict(info.metadata))

"""What every servicer of the audience service needs of a call."""

from typing import Any

from grpc.aio import ServicerContext

from chassis.identity import current_identity
from services.audience.operations.context import Caller

Context = ServicerContext[Any, Any]


def current_caller() -> Caller:
    """Who makes the call of this task, as operations know it."""
    return Caller(current_identity().organization)

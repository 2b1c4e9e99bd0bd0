"""What every servicer of the ledger needs of a call."""

from typing import Any

from grpc.aio import ServicerContext

from chassis.identity import current_identity
from services.ledger.operations.context import Caller

Context = ServicerContext[Any, Any]


def current_caller() -> Caller:
    """Who makes the call of this task, as operations know it."""
    identity = current_identity()
    return Caller(identity.organization, identity.actor)

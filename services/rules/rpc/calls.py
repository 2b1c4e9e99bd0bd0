"""What every servicer of rules needs of a call."""

from typing import Any

from grpc.aio import ServicerContext

from chassis.call import outgoing_metadata
from chassis.identity import current_identity
from chassis.refusals import ScopeMissing
from services.rules.operations.context import Caller

Context = ServicerContext[Any, Any]
POSTING_SCOPE = "ledger:write"


def current_caller() -> Caller:
    """Who makes the call of this task, as operations know it."""
    identity = current_identity()
    return Caller(identity.organization, identity.actor, outgoing_metadata())


def posting_caller() -> Caller:
    """The caller, who must be allowed to post: refused now, before an event is logged."""
    if POSTING_SCOPE not in current_identity().scopes:
        raise ScopeMissing(POSTING_SCOPE)
    return current_caller()

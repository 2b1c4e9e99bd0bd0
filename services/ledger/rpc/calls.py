"""What every servicer of the ledger needs of a call."""

from collections.abc import Mapping
from typing import Any, TypeVar

from grpc.aio import ServicerContext

from chassis.identity import current_identity
from kernel.refusals import MemberNotFound
from services.ledger.operations.context import Caller

Context = ServicerContext[Any, Any]


def current_caller() -> Caller:
    """Who makes the call of this task, as operations know it."""
    identity = current_identity()
    return Caller(identity.organization, identity.actor)


_Found = TypeVar("_Found")


def found(by_member: Mapping[str, _Found], member: str) -> _Found:
    """What was found of a member, or MEMBER_NOT_FOUND."""
    if member not in by_member:
        raise MemberNotFound(member)
    return by_member[member]

"""What every servicer of the ledger needs of a call."""

from collections.abc import Mapping
from typing import Any, TypeVar

from grpc.aio import ServicerContext

from chassis.identity import current_identity
from kernel.refusals import MemberNotFound
from services.ledger.operations.context import Caller
from services.ledger.operations.sight import Member

Context = ServicerContext[Any, Any]


def current_caller() -> Caller:
    """Who makes the call of this task, as operations know it."""
    identity = current_identity()
    return Caller(identity.organization, identity.actor)


def by_itself() -> bool:
    """Whether the call of this task is a member's own, with the token that it was given."""
    return current_identity().member is not None


def reader(program: str, member: str, *, own: bool = False) -> Member:
    """Whose history the call of this task asks for; `own` as the request says."""
    return Member(current_identity().organization, program, member, by_itself(), own)


_Found = TypeVar("_Found")


def found(by_member: Mapping[str, _Found], member: str) -> _Found:
    """What was found of a member, or MEMBER_NOT_FOUND."""
    if member not in by_member:
        raise MemberNotFound(member)
    return by_member[member]

"""What every servicer of the tiers needs of a call."""

from typing import Any

from grpc.aio import ServicerContext

from chassis.identity import current_identity
from services.tiers.operations.context import Caller
from services.tiers.store.ladders import Program

Context = ServicerContext[Any, Any]


def current_caller() -> Caller:
    """Who makes the call of this task, as operations know it."""
    identity = current_identity()
    return Caller(identity.organization, identity.actor)


def program_of(program: str) -> Program:
    """A program of the caller's organization."""
    return Program(current_identity().organization, program)

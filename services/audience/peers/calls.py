"""Calls of the other services, and what their refusals are here."""

from typing import Any, NoReturn

import grpc.aio

from chassis.call import remaining_seconds
from chassis.channels import Metadata
from chassis.refusals import (
    DeadlinePassed,
    DependencyUnavailable,
    Overloaded,
    error_info,
    status_of_error,
)
from kernel.refusals import MemberNotFound, ProgramNotFound


async def answer(method: Any, request: Any, metadata: Metadata, dependency: str) -> Any:
    """A unary call's answer, within what is left of the call that is worked on.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, DEADLINE_PASSED, OVERLOADED,
    DEPENDENCY_UNAVAILABLE for everything else.
    """
    try:
        return await method(request, timeout=remaining_seconds(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        refuse(error, dependency)


def refuse(error: grpc.aio.AioRpcError, dependency: str) -> NoReturn:
    """Refuse as the dependency did where that is about the request."""
    info = error_info(status_of_error(error, dependency))
    said = {} if info is None else dict(info.metadata)
    match "" if info is None else info.reason:
        case "PROGRAM_NOT_FOUND":
            raise ProgramNotFound(said.get("program", "")) from None
        case "MEMBER_NOT_FOUND":
            raise MemberNotFound(said.get("member", "")) from None
        case "DEADLINE_PASSED":
            raise DeadlinePassed from None
        case "OVERLOADED":
            raise Overloaded from None
        case _:
            raise DependencyUnavailable(dependency) from error


async def newer(stub_call: Any, cursors: dict[int, int], dependency: str) -> dict[int, int] | None:
    """What a stream says first after the cursors; None where nothing newer is recorded.

    Answers the cursors after the next changes, which need not be all there are.
    """
    call = stub_call(cursors)
    try:
        async for response in call:
            if response.changes:
                return {each.bucket: each.sequence for each in response.changes}
            if response.HasField("current_time"):
                ahead = {
                    bucket: sequence
                    for bucket, sequence in response.cursors.items()
                    if sequence > cursors.get(bucket, 0)
                }
                return ahead or None
    except grpc.aio.AioRpcError as error:
        refuse(error, dependency)
    finally:
        call.cancel()
    raise DependencyUnavailable(dependency)

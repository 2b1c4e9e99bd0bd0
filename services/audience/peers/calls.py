"""What is the same of both services that the audience service asks and follows."""

from typing import Any, Final

import grpc.aio

from chassis.peers import BUSY, refusal_of_error
from chassis.refusals import DependencyUnavailable
from kernel.refusals import MemberNotFound, ProgramNotFound

PASSED: Final = BUSY | {ProgramNotFound.reason, MemberNotFound.reason}
"""Reasons that are about what was asked here; what else is refused, our own account is."""


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
        raise refusal_of_error(error, dependency, PASSED) from error
    finally:
        call.cancel()
    raise DependencyUnavailable(dependency)


def erased_of(change: Any) -> tuple[str, str] | None:
    """Whom a change of either stream says to be erased, as far as it still knows."""
    if change.WhichOneof("fact") != "member_erased" or not change.member_erased.member:
        return None
    return change.organization, change.member_erased.member

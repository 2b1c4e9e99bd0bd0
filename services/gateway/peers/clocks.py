"""The parts of a sandbox's time that the services keep."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.channels import Metadata
from chassis.peers import refusal_of_error
from chassis.refusals import DependencyUnavailable
from loyalty.clock import SERVICES, advance
from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import program_pb2
from services.gateway.peers.channels import Channels

KEEPER: Final = SERVICES[0]
"""Keeps the program's clock; the others look at it there."""

FOLLOWERS: Final = SERVICES[1:]
"""Each rests on what those before it did at an instant."""

_CATCH_UP: Final = "/loyalty.common.v1.ClockService/CatchUp"
_NEXT_DUE: Final = "/loyalty.common.v1.ClockService/GetNextDue"
_ADVANCE: Final = "/loyalty.ledger.v1.ProgramService/AdvanceClock"

RETRIED: Final = frozenset({_CATCH_UP, _NEXT_DUE})
"""Methods that may be called again after a lost answer."""

_T = TypeVar("_T")


class Clocks:
    """The clocks of all services.

    A call may take `seconds`. A service that cannot be reached is DependencyUnavailable with its
    name; its own refusals are `grpc.aio.AioRpcError`.
    """

    def __init__(self, channels: Channels) -> None:
        names = (KEEPER, *FOLLOWERS)
        self._catch_up = {
            name: channels.unary(name, _CATCH_UP, clock_pb2.CatchUpResponse) for name in names
        }
        self._next_due = {
            name: channels.unary(name, _NEXT_DUE, clock_pb2.GetNextDueResponse) for name in names
        }
        self._advance = channels.unary(KEEPER, _ADVANCE, program_pb2.AdvanceClockResponse)

    async def move(
        self, program: str, until: datetime, remaining: Callable[[], float], metadata: Metadata
    ) -> tuple[datetime, int]:
        """Move all services to an instant, in order; the program's now, and accounts settled.

        `remaining` answers the seconds that are left, and refuses where none are.
        """
        move = _Move(self, program, until, remaining, metadata)
        followers = [_Part(move, name) for name in FOLLOWERS]
        settled = await advance(_Part(move, KEEPER), followers, until)
        return move.now, settled

    async def next_due(
        self, name: str, program: str, seconds: float, metadata: Metadata
    ) -> datetime | None:
        """When a service has something due next; None where nothing is."""
        request = clock_pb2.GetNextDueRequest(program=program)
        answer = await _named(name, self._next_due[name](request, seconds, metadata))
        return answer.time.ToDatetime(UTC) if answer.HasField("time") else None

    async def catch_up(
        self, name: str, program: str, time: datetime, seconds: float, metadata: Metadata
    ) -> int:
        """Bring a service up to an instant, never back; answers how much it had to do."""
        request = clock_pb2.CatchUpRequest(program=program, time=_timestamp(time))
        answer = await _named(name, self._catch_up[name](request, seconds, metadata))
        return answer.done

    async def advance(
        self, program: str, time: datetime, seconds: float, metadata: Metadata
    ) -> tuple[datetime, int]:
        """Move the program's clock; answers its now, and how many accounts had something due."""
        request = program_pb2.AdvanceClockRequest(program=program, time=_timestamp(time))
        answer = await _named(KEEPER, self._advance(request, seconds, metadata))
        return answer.time.ToDatetime(UTC), answer.settled_accounts


class _Move:
    """One move of one program to an instant."""

    def __init__(
        self,
        clocks: Clocks,
        program: str,
        until: datetime,
        remaining: Callable[[], float],
        metadata: Metadata,
    ) -> None:
        self.clocks = clocks
        self.program = program
        self.until = until
        self.remaining = remaining
        self.metadata = metadata
        self.now = until


@dataclass(frozen=True, slots=True)
class _Part:
    """What one service does in a move."""

    move: _Move
    name: str

    async def next_due(self) -> datetime | None:
        """When the service has something due next."""
        move = self.move
        return await move.clocks.next_due(self.name, move.program, move.remaining(), move.metadata)

    async def catch_up(self, time: datetime) -> int:
        """Bring the service to an instant; at the end the keeper moves the program's clock."""
        move = self.move
        if self.name != KEEPER or time != move.until:
            return await move.clocks.catch_up(
                self.name, move.program, time, move.remaining(), move.metadata
            )
        move.now, settled = await move.clocks.advance(
            move.program, time, move.remaining(), move.metadata
        )
        return settled


def _timestamp(time: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


async def _named(name: str, call: Awaitable[_T]) -> _T:
    """The answer of a call, whose failure to reach the service says which one it was."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of_error(error, name)
        if refusal.reason == DependencyUnavailable.reason:
            raise DependencyUnavailable(refusal.metadata.get("dependency") or name) from error
        raise

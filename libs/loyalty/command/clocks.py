"""A service's part of a sandbox's time, as the command calls it."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.common.v1.clock_pb2 import CatchUpRequest, GetNextDueRequest


class StubPart:
    """A part behind a `ClockServiceStub` of `grpc.aio`, whose calls take `timeout_seconds`."""

    def __init__(self, stub: Any, program: str, timeout_seconds: float) -> None:
        self._stub = stub
        self._program = program
        self._timeout = timeout_seconds

    async def next_due(self) -> datetime | None:
        """The earliest instant at which the service has something due."""
        request = GetNextDueRequest(program=self._program)
        answer = await self._stub.GetNextDue(request, timeout=self._timeout)
        return answer.time.ToDatetime(UTC) if answer.HasField("time") else None

    async def catch_up(self, time: datetime) -> int:
        """Bring the service to `time`."""
        moment = Timestamp()
        moment.FromDatetime(time)
        request = CatchUpRequest(program=self._program, time=moment)
        answer = await self._stub.CatchUp(request, timeout=self._timeout)
        return int(answer.done)

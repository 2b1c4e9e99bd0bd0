"""Moves a sandbox program through time in every service that keeps a part of it.

    parts = [StubPart(client.stub(ClockServiceStub, name), "sandbox") for name in SERVICES]
    await advance(parts, datetime(2030, 1, 1, tzinfo=UTC))

The one place that says in which order a program's time passes: all services go, again and again, to
the earliest instant at which any of them has something due, and so nothing happens too late or in
another order than it would have by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.common.v1.clock_pb2 import CatchUpRequest, GetNextDueRequest

# In the order in which an instant is worked through: each rests on the numbers of those before it.
SERVICES = ("ledger", "rules", "tiers", "audience")
_STEPS_MAX = 1_000_000


class Part(Protocol):
    """One service's part of a program; errors are those of the calls."""

    async def next_due(self) -> datetime | None:
        """The earliest instant after its now at which something falls due; None where nothing."""

    async def catch_up(self, time: datetime) -> int:
        """Do what is due up to `time`, and answer for how many accounts."""


class StubPart:
    """A part behind a `ClockServiceStub` of `grpc.aio`, whose calls take `timeout_seconds`."""

    def __init__(self, stub: Any, program: str, timeout_seconds: float = 60.0) -> None:
        self._catch_up: Callable[..., Awaitable[Any]] = stub.CatchUp
        self._next_due: Callable[..., Awaitable[Any]] = stub.GetNextDue
        self._program = program
        self._timeout = timeout_seconds

    async def next_due(self) -> datetime | None:
        """The earliest instant at which the service has something due."""
        request = GetNextDueRequest(program=self._program)
        answer = await self._next_due(request, timeout=self._timeout)
        return answer.time.ToDatetime(UTC) if answer.HasField("time") else None

    async def catch_up(self, time: datetime) -> int:
        """Bring the service to `time`."""
        moment = Timestamp()
        moment.FromDatetime(time)
        request = CatchUpRequest(program=self._program, time=moment)
        answer = await self._catch_up(request, timeout=self._timeout)
        return int(answer.done)


async def advance(parts: Sequence[Part], until: datetime, *, following: bool = True) -> int:
    """Move all parts to `until`; answers what the first of them did, in accounts.

    The first part keeps the program's clock. The others are brought up to date at every instant.
    Without `following` they are only where they have something due themselves: they follow anyway,
    and who moves a clock by many small steps waits for them once, at the end. What falls due in the
    first part alone it then works through in one go, in order as ever.
    A call that failed half way is resumed by calling again with the same time.
    """
    done = 0
    for _ in range(_STEPS_MAX):
        asked = parts if following else parts[1:]
        due = await asyncio.gather(*(part.next_due() for part in asked))
        step = min((time for time in due if time is not None and time < until), default=until)
        done += await parts[0].catch_up(step)
        for part, time in zip(parts[1:], due[-len(parts) + 1 :], strict=True):
            if following or (time is not None and time <= step):
                await part.catch_up(step)
        if step == until:
            return done
    raise RuntimeError(f"after {_STEPS_MAX:,} instants there is still something due before {until}")

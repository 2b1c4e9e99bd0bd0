"""Moving a sandbox through time in all services: the one place that knows how."""

import asyncio
import time as clock
from datetime import datetime

from chassis.channels import Metadata
from chassis.refusals import DeadlinePassed
from services.gateway.peers.clocks import FOLLOWERS, KEEPER, Clocks


class AdvanceClock:
    """Moves the services together to each instant at which one of them has something due.

    The ledger settles a stretch of time by itself, in order, so only what is due elsewhere is
    stopped at. At every stop the ledger moves first and the others follow, each after those that it
    rests on. Every step may be done twice, so a call that was cut short is completed by calling
    again with the same time.
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks

    async def __call__(
        self, program: str, time: datetime, *, seconds: float, metadata: Metadata
    ) -> tuple[datetime, int]:
        """Move to `time` within `seconds`; the program's now, and how many accounts were settled.

        Refuses with DEPENDENCY_UNAVAILABLE naming a service that is down, before anything moves
        where it was down then; with DEADLINE_PASSED; and as the services refuse (PROGRAM_NOT_FOUND,
        NOT_SANDBOX, CLOCK_GOES_BACK).
        """
        move = _Move(self._clocks, program, clock.monotonic() + seconds, metadata)
        reached: datetime | None = None
        settled = 0
        while True:
            due = await move.next_due()
            stops = [stop for stop in due if stop < time and (reached is None or stop > reached)]
            if not stops:
                break
            reached = min(stops)
            settled += await move.catch_up(KEEPER, reached)
            await move.follow(reached)
        now, done = await self._clocks.advance(program, time, move.remaining(), metadata)
        await move.follow(time)
        return now, settled + done


class _Move:
    """One move of one program, until a deadline of the monotonic clock."""

    def __init__(self, clocks: Clocks, program: str, deadline: float, metadata: Metadata) -> None:
        self._clocks = clocks
        self._program = program
        self._deadline = deadline
        self._metadata = metadata

    def remaining(self) -> float:
        """Seconds that are left. Refuses with DEADLINE_PASSED where none are."""
        seconds = self._deadline - clock.monotonic()
        if seconds <= 0:
            raise DeadlinePassed
        return seconds

    async def next_due(self) -> list[datetime]:
        """When the followers have something due next.

        The ledger is asked, too: what it refuses comes first, and nothing moves while it is down.
        """
        seconds = self.remaining()
        answers = await asyncio.gather(
            *(
                self._clocks.next_due(name, self._program, seconds, self._metadata)
                for name in (KEEPER, *FOLLOWERS)
            ),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers[1:] if isinstance(answer, datetime)]

    async def catch_up(self, name: str, time: datetime) -> int:
        """Bring one service to an instant."""
        return await self._clocks.catch_up(
            name, self._program, time, self.remaining(), self._metadata
        )

    async def follow(self, time: datetime) -> None:
        """Bring the followers to an instant, one after the other."""
        for name in FOLLOWERS:
            await self.catch_up(name, time)

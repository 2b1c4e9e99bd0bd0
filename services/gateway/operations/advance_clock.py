"""Moving a sandbox through time in all services."""

import time as clock
from datetime import datetime

from chassis.channels import Metadata
from chassis.refusals import DeadlinePassed
from services.gateway.peers.clocks import Clocks


class AdvanceClock:
    """Moves the services together to each instant at which one of them has something due.

    Every step may be done twice, so a call that was cut short is completed by calling again with
    the same time.
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
        deadline = clock.monotonic() + seconds

        def remaining() -> float:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise DeadlinePassed
            return left

        return await self._clocks.move(program, time, remaining, metadata)

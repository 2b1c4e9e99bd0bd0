"""Moving a sandbox through time in all services."""

import time as clock
from dataclasses import dataclass
from datetime import datetime

from chassis.channels import Metadata
from chassis.refusals import DeadlinePassed
from loyalty.clock import advance
from services.gateway.peers.clocks import FOLLOWERS, KEEPER, Clocks


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
        move = _Move(self._clocks, program, time, clock.monotonic() + seconds, metadata)
        settled = await advance(
            _Part(move, KEEPER), [_Part(move, name) for name in FOLLOWERS], time
        )
        return move.now, settled


class _Move:
    """One move of one program to an instant, until a deadline of the monotonic clock."""

    def __init__(
        self, clocks: Clocks, program: str, until: datetime, deadline: float, metadata: Metadata
    ) -> None:
        self.clocks = clocks
        self.program = program
        self.until = until
        self.metadata = metadata
        self.now = until
        self._deadline = deadline

    def remaining(self) -> float:
        """Seconds that are left. Refuses with DEADLINE_PASSED where none are."""
        seconds = self._deadline - clock.monotonic()
        if seconds <= 0:
            raise DeadlinePassed
        return seconds


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

"""The order in which a sandbox program's time passes in the services that keep a part of it.

    await advance(ledger, [rules, tiers, audience], datetime(2030, 1, 1, tzinfo=UTC))

The one place that says so, for the gateway and for the command: values and callables, no calls.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

SERVICES: Final = ("ledger", "rules", "tiers", "audience")
"""In the order in which an instant is worked through: each rests on what those before it did.

The first keeps the program's clock; the others look at it there.
"""
_STEPS_MAX: Final = 1_000_000


class Part(Protocol):
    """One service's part of a program; errors are those of the calls."""

    async def next_due(self) -> datetime | None:
        """The earliest instant after its now at which something falls due; None where nothing."""

    async def catch_up(self, time: datetime) -> int:
        """Do what is due up to `time`, and answer for how many accounts."""


async def advance(
    keeper: Part, followers: Sequence[Part], until: datetime, *, following: bool = True
) -> int:
    """Move all parts to `until`; answers for how many accounts the keeper had something due.

    All go, again and again, to the earliest instant at which a follower has something due, so that
    nothing happens too late or in another order than it would have by itself. The keeper works a
    stretch of time through by itself, in order, so what is due there alone is not stopped at; it is
    asked all the same, for what it refuses comes first, and nothing moves while it is down.

    Without `following` the followers are only brought up where they have something due: they follow
    anyway, and who moves a clock by many small steps waits for them once, at the end.
    A move that failed half way is completed by moving again to the same time.
    """
    reached: datetime | None = None
    done = 0
    for _ in range(_STEPS_MAX):
        due = await _next_due([keeper, *followers] if following else followers)
        due = due[-len(followers) :] if followers else []
        # What is still due where everybody is already holds nobody up.
        ahead = (time for time in due if time is not None and (reached is None or time > reached))
        step = min((time for time in ahead if time < until), default=until)
        done += await keeper.catch_up(step)
        for part, time in zip(followers, due, strict=True):
            if following or (time is not None and time <= step):
                await part.catch_up(step)
        if step == until:
            return done
        reached = step
    raise RuntimeError(f"after {_STEPS_MAX:,} instants there is still something due before {until}")


async def _next_due(parts: Sequence[Part]) -> list[datetime | None]:
    answers = await asyncio.gather(*(part.next_due() for part in parts), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]

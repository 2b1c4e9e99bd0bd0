"""Following the streams of the ledger and the tiers, each by itself."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from chassis.streams import Cursors, Pace, follow
from services.audience.operations import follow as operations
from services.audience.operations.context import AudienceContext, Progress
from services.audience.peers import ledger, tiers

PACE = Pace(first_seconds=0.1, last_seconds=1.0)
SAVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Followed:
    """One stream: how it is opened, and what is done with its changes."""

    name: str
    watch: Callable[[Cursors], Any]
    apply: Callable[[Sequence[Any], Cursors], Awaitable[None]]


class Timed:
    """A stream's responses; what is older than a response counts once the next is asked for.

    A follower asks for the next response when it has applied the one before.
    """

    def __init__(
        self, call: Any, progress: Progress, save: Callable[[datetime], Awaitable[None]]
    ) -> None:
        self._call = call
        self._responses = aiter(call)
        self._progress = progress
        self._save = save
        self._told: datetime | None = None
        self._saved = 0.0

    def __aiter__(self) -> "Timed":
        return self

    async def __anext__(self) -> Any:
        """The next response; the one before is applied."""
        if self._told is not None:
            self._progress.reach(self._told)
            if time.monotonic() - self._saved >= SAVE_S:
                self._saved = time.monotonic()
                await self._save(self._told)
            self._told = None
        response = await anext(self._responses)
        if response.HasField("current_time"):
            self._told = response.current_time.ToDatetime(tzinfo=UTC)
        return response

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()


def followed(context: AudienceContext) -> tuple[Followed, ...]:
    """The streams that are followed."""

    async def postings(changes: Sequence[Any], moved: Mapping[int, int]) -> None:
        await operations.apply_postings(context, ledger.posting_facts(changes), moved)

    async def moves(changes: Sequence[Any], moved: Mapping[int, int]) -> None:
        await operations.apply_tiers(context, tiers.tier_facts(changes), moved)

    return (
        Followed(ledger.NAME, context.ledger.watch, postings),
        Followed(tiers.NAME, context.tiers.watch, moves),
    )


def jobs(context: AudienceContext) -> list[Coroutine[Any, Any, NoReturn]]:
    """Following every stream for ever, each by itself: one that is down stops no other."""
    return [_run(context, stream) for stream in followed(context)]


async def _run(context: AudienceContext, stream: Followed) -> NoReturn:
    async def save(reached: datetime) -> None:
        await operations.save_reached(context, stream.name, reached)

    def call(cursors: Cursors) -> Timed:
        return Timed(stream.watch(cursors), context.progress[stream.name], save)

    async def load() -> Cursors:
        return await operations.load_cursors(context, stream.name)

    await follow(call, load, stream.apply, name=stream.name, pace=PACE)

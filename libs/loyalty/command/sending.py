"""Sends a file's events to the suite: in order, again where that may help, and counted."""

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2

from loyalty.calls import LoyaltyRefusal, refusal_of_status
from loyalty.command.rows import Row
from loyalty.ledger.v1.resources_pb2 import Entry
from loyalty.rules.v1.events_pb2 import (
    BatchSubmitEventsRequest,
    BatchSubmitEventsResult,
    Event,
    EventOutcome,
)

DEADLINE_SECONDS = 60.0
# Calls with fewer events than this cost more than what is won by making them at once.
LANE_LEAST = 50
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 2.0
# What may go well later. Ids make it harmless to send again what may have been taken in.
PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        # What gRPC's server says to a call that reaches it while it shuts down.
        grpc.StatusCode.CANCELLED,
    }
)
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Totals:
    """What became of the rows so far; points by currency."""

    rows: int = 0
    taken_in: int = 0
    replayed: int = 0
    points: Counter[str] = field(default_factory=Counter)
    points_replayed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: EventOutcome) -> None:
        """Count an event that was taken in, now or before."""
        points = self.points
        if outcome.replayed:
            self.replayed += 1
            points = self.points_replayed
        else:
            self.taken_in += 1
        for entry in outcome.posting.entries:
            if entry.kind == Entry.EARNED:
                points[entry.currency] += entry.points

    def to_json(self) -> dict[str, Any]:
        """The totals as JSON has them."""
        return {
            "rows": self.rows,
            "taken_in": self.taken_in,
            "replayed": self.replayed,
            "points": dict(self.points),
            "points_replayed": dict(self.points_replayed),
            "refused": dict(self.refused),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Totals":
        """The totals that `to_json` made; none where it is something else."""
        try:
            return Totals(
                int(value["rows"]),
                int(value["taken_in"]),
                int(value["replayed"]),
                _counter(value["points"]),
                _counter(value["points_replayed"]),
                _counter(value["refused"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return Totals()


def _counter(value: Mapping[str, Any]) -> Counter[str]:
    return Counter({name: int(count) for name, count in value.items()})


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are sent together: `lanes` beside each other, each in its own order.

    A member's rows are all in one lane. `time` is that of the last row, and of them all the latest.
    """

    lanes: Sequence[Sequence[Event]]
    rows: int
    time: datetime


def chunks(rows: Sequence[Row], size: int, lanes: int, *, by_day: bool) -> Iterator[Chunk]:
    """Cut rows into chunks of at most `size` × `lanes`; `by_day`, each of one local day."""
    begin = 0
    while begin < len(rows):
        end = begin + 1
        while end < min(begin + size * lanes, len(rows)):
            if by_day and rows[end].day != rows[begin].day:
                break
            end += 1
        part = rows[begin:end]
        yield Chunk(_dealt(part, lanes), len(part), part[-1].time)
        begin = end


def _dealt(rows: Sequence[Row], most: int) -> list[list[Event]]:
    """The events of rows by lane, each member's in one; fewer lanes where calls would be small."""
    lanes = min(most, -(-len(rows) // LANE_LEAST))
    dealt: list[list[Event]] = [[] for _ in range(lanes)]
    for row in rows:
        dealt[zlib.crc32(row.event.member.encode()) % lanes].append(row.event)
    return [events for events in dealt if events]


class Patience:
    """Tries again what may go well later, until nothing has gone well for so many seconds."""

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._say = say
        self._well = time.monotonic()

    def went_well(self) -> None:
        """Begin to count anew."""
        self._well = time.monotonic()

    async def call(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of the first attempt that has one; its error where patience ends."""
        pause = _PAUSE_FIRST
        # What went before, such as reading a file, used none of it.
        began = time.monotonic()
        while True:
            try:
                answer = await attempt()
            except (grpc.aio.AioRpcError, LoyaltyRefusal) as error:
                left = max(began, self._well) + self._seconds - time.monotonic()
                if _code(error) not in PASSING or left <= 0:
                    raise
                self._say(f"{_why(error)}; trying again for {left:.0f} s")
                await asyncio.sleep(min(pause, max(left, _PAUSE_FIRST)))
                pause = min(pause * 2, _PAUSE_MOST)
            else:
                self.went_well()
                return answer


class Submitter:
    """Submits chunks to `rules`, an `EventServiceStub` of `grpc.aio`, in batches of `size`."""

    def __init__(
        self, rules: Any, program: str, size: int, patience: Patience, totals: Totals
    ) -> None:
        self._rules = rules
        self._program = program
        self._size = size
        self._patience = patience
        self._totals = totals

    async def send(self, chunk: Chunk) -> None:
        """Send a chunk; when this returns, what became of every row of it is counted."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for lane in chunk.lanes:
                    tasks.create_task(self._lane(lane))
        except ExceptionGroup as group:
            # What went wrong first is what there is to say.
            raise group.exceptions[0] from None
        self._totals.rows += chunk.rows

    async def _lane(self, events: Sequence[Event]) -> None:
        for begin in range(0, len(events), self._size):
            await self._batch(events[begin : begin + self._size])

    async def _batch(self, events: Sequence[Event]) -> None:
        """Send until every event has an answer that stands; each is counted once."""
        waiting = list(events)

        async def attempt() -> None:
            nonlocal waiting
            request = BatchSubmitEventsRequest(program=self._program, events=waiting, brief=True)
            answer = await self._rules.BatchSubmitEvents(request, timeout=DEADLINE_SECONDS)
            if len(answer.results) != len(waiting):
                raise ValueError(
                    f"{len(waiting)} events were answered by {len(answer.results)} results"
                )
            again: list[Event] = []
            why: LoyaltyRefusal | None = None
            for event, result in zip(waiting, answer.results, strict=True):
                passing = self._count(event, result)
                if passing is not None:
                    again.append(event)
                    why = why or passing
            if len(again) < len(waiting):
                self._patience.went_well()
            waiting = again
            if why is not None:
                raise why

        await self._patience.call(attempt)

    def _count(self, event: Event, result: BatchSubmitEventsResult) -> LoyaltyRefusal | None:
        """Count a result that stands; answers why another one does not yet."""
        status = result.status
        if result.HasField("outcome"):
            outcome = result.outcome
            if outcome.state == EventOutcome.DONE:
                self._totals.add(outcome)
                return None
            if outcome.state != EventOutcome.REFUSED:
                return LoyaltyRefusal(
                    "EVENT_NOT_FINISHED", {}, grpc.StatusCode.UNAVAILABLE, event.id
                )
            status = outcome.status
        refusal = refusal_of_status(status) or _unnamed(status)
        if refusal.code in PASSING:
            return refusal
        self._totals.refused[refusal.reason] += 1
        return None


def _unnamed(status: status_pb2.Status) -> LoyaltyRefusal:
    """A failure that has no reason of ours."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    code = codes.get(status.code, grpc.StatusCode.UNKNOWN)
    return LoyaltyRefusal(code.name, {}, code, status.message)


def _code(error: grpc.aio.AioRpcError | LoyaltyRefusal) -> grpc.StatusCode:
    return error.code if isinstance(error, LoyaltyRefusal) else error.code()


def _why(error: grpc.aio.AioRpcError | LoyaltyRefusal) -> str:
    if isinstance(error, LoyaltyRefusal):
        return str(error)
    return f"{error.code().name}: {error.details()}"

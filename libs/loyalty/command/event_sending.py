"""Sends a file's events to rules, each member's in order, and counts what became of them."""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import grpc

from loyalty.calls import LoyaltyRefusal
from loyalty.command.output import FirstLines
from loyalty.command.progress_file import Totals
from loyalty.command.rows import Row
from loyalty.command.sending import (
    DEADLINE_SECONDS,
    PASSING,
    Patience,
    refusal_in,
    side_by_side,
    until_answered,
)
from loyalty.ledger.v1.resources_pb2 import Entry
from loyalty.rules.v1.events_pb2 import (
    BatchSubmitEventsRequest,
    BatchSubmitEventsResult,
    Event,
    EventOutcome,
)

# Calls with fewer events than this cost more than what is won by making them at once.
LANE_LEAST = 50


@dataclass(slots=True)
class EventTotals(Totals):
    """What became of the events so far; points by currency."""

    taken_in: int = 0
    points: Counter[str] = field(default_factory=Counter)
    points_replayed: Counter[str] = field(default_factory=Counter)

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


class Submitter:
    """Submits chunks to `rules`, an `EventServiceStub` of `grpc.aio`, in batches of `size`."""

    def __init__(
        self, rules: Any, program: str, size: int, patience: Patience, totals: EventTotals
    ) -> None:
        self._rules = rules
        self._program = program
        self._size = size
        self._patience = patience
        self._totals = totals
        self._refused = FirstLines()

    async def send(self, chunk: Chunk) -> None:
        """Send a chunk; when this returns, what became of every row of it is counted."""
        await side_by_side(self._lane(lane) for lane in chunk.lanes)
        self._totals.rows += chunk.rows

    async def _lane(self, events: Sequence[Event]) -> None:
        for begin in range(0, len(events), self._size):
            batch = events[begin : begin + self._size]
            await until_answered(batch, self._ask, self._count, self._patience)

    async def _ask(self, events: Sequence[Event]) -> Sequence[BatchSubmitEventsResult]:
        request = BatchSubmitEventsRequest(program=self._program, events=events, brief=True)
        answer = await self._rules.BatchSubmitEvents(request, timeout=DEADLINE_SECONDS)
        return list(answer.results)

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
        refusal = refusal_in(status)
        if refusal.code in PASSING:
            return refusal
        self._totals.refused[refusal.reason] += 1
        when = event.effective_time.ToJsonString()
        self._refused.say(f"event {event.id} of {event.member} at {when}: {refusal}")
        return None

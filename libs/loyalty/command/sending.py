"""Sends a file's rows: beside each other, again where that may help, each until it is answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2

from loyalty.calls import LoyaltyRefusal, refusal_of_status

DEADLINE_SECONDS = 60.0
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
_CODES = {code.value[0]: code for code in grpc.StatusCode}
Answer = TypeVar("Answer")
Row = TypeVar("Row")
Result = TypeVar("Result")


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


async def side_by_side(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once; where some of it fails, all ends, and the first error is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in work:
                tasks.create_task(each)
    except ExceptionGroup as group:
        # What went wrong first is what there is to say.
        raise group.exceptions[0] from None


async def until_answered(
    rows: Sequence[Row],
    ask: Callable[[Sequence[Row]], Awaitable[Sequence[Result]]],
    count: Callable[[Row, Result], LoyaltyRefusal | None],
    patience: Patience,
) -> None:
    """Send rows until every one has an answer that stands.

    `ask` sends rows in one call and answers their results in order. `count` is given each result:
    it counts one that stands, and answers why another does not yet.
    """
    waiting = list(rows)

    async def attempt() -> None:
        nonlocal waiting
        results = await ask(waiting)
        if len(results) != len(waiting):
            raise ValueError(f"{len(waiting)} rows were answered by {len(results)} results")
        again: list[Row] = []
        why: LoyaltyRefusal | None = None
        for row, result in zip(waiting, results, strict=True):
            passing = count(row, result)
            if passing is not None:
                again.append(row)
                why = why or passing
        if len(again) < len(waiting):
            patience.went_well()
        waiting = again
        if why is not None:
            raise why

    await patience.call(attempt)


def refusal_in(status: status_pb2.Status) -> LoyaltyRefusal:
    """The refusal of a row; its code is the reason where it is none of the suite's own."""
    refusal = refusal_of_status(status)
    if refusal is not None:
        return refusal
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return LoyaltyRefusal(code.name, {}, code, status.message)


def _code(error: grpc.aio.AioRpcError | LoyaltyRefusal) -> grpc.StatusCode:
    return error.code if isinstance(error, LoyaltyRefusal) else error.code()


def _why(error: grpc.aio.AioRpcError | LoyaltyRefusal) -> str:
    if isinstance(error, LoyaltyRefusal):
        return str(error)
    return f"{error.code().name}: {error.details()}"

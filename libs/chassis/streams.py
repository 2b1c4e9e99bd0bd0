"""The following side of a change stream: every change applied exactly once.

A follower keeps one cursor per bucket. It hands changes to `apply` together with the cursors after
them, and `apply` stores both in one transaction; whatever happens in between (a lost answer, a
killed process, a stream that breaks), the follower goes on from the stored cursors, so that a
change is never missed and never applied twice.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

import grpc

from chassis.faults import dependency_of
from chassis.logs import logger
from chassis.metrics import FOLLOWED, FOLLOWER_RECONNECTS

Cursors = Mapping[int, int]
"""The last sequence applied, by bucket."""


class ChangeLike(Protocol):
    """What every service's change has."""

    @property
    def bucket(self) -> int:
        """Which stream of the service's many."""
        ...

    @property
    def sequence(self) -> int:
        """Where in it; greater than that of every earlier change of the bucket."""
        ...


class Batch(Protocol):
    """What every service's `WatchChangesResponse` has."""

    @property
    def changes(self) -> Sequence[Any]:
        """Changes, in sequence within each bucket."""
        ...

    @property
    def cursors(self) -> Mapping[int, int]:
        """The cursors after these changes, of the buckets that moved."""
        ...


Call = Callable[[Cursors], Any]
"""Opens the stream after the cursors: `lambda cursors: stub.WatchChanges(request(cursors), …)`."""
Load = Callable[[], Awaitable[Cursors]]
"""Reads the stored cursors."""
Apply = Callable[[Sequence[Any], Cursors], Awaitable[None]]
"""Applies changes, perhaps none, and stores the cursors that moved, in one transaction."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a follower waits, in seconds.

    `silence_seconds` without even a heartbeat mean that the stream is dead though its connection is
    not. Pauses between attempts are drawn from nothing to a bound that doubles from the first to
    the last, so that followers that lost one server do not return to the next all at once.
    """

    first_seconds: float = 0.1
    last_seconds: float = 10.0
    silence_seconds: float = 30.0

    def pause(self, failures: int) -> float:
        """The pause after so many failures in a row."""
        bound = min(self.last_seconds, self.first_seconds * 2 ** min(failures, 30))
        return random.uniform(0.0, bound)  # noqa: S311 - spreads load, guards nothing


_PACE: Final = Pace()


class OutOfOrder(Exception):
    """A stream gave a change that does not follow the ones before it."""


async def follow(
    stub_call: Call,
    load_cursors: Load,
    apply: Apply,
    *,
    name: str = "changes",
    pace: Pace = _PACE,
) -> NoReturn:
    """Follow a stream for ever; ends only by being cancelled.

    Whatever fails, the stream's connection or `apply`, is logged, and the follower begins again at
    the stored cursors. A change that cannot be applied stops its follower visibly; it is never
    skipped.
    """
    log = logger("follower")
    applied = FOLLOWED.labels(name).inc
    failures = 0
    while True:
        try:
            cursors = dict(await load_cursors())
            async with aclosing(_responses(stub_call(dict(cursors)), pace)) as responses:
                async for response in responses:
                    fresh, moved = _news(response, cursors)
                    if moved:
                        await apply(fresh, moved)
                        cursors.update(moved)
                        applied(len(fresh))
                    failures = 0
            error: Exception | None = None
        except Exception as caught:  # noqa: BLE001 - any failure is answered by beginning again
            error = caught
        failures += 1
        pause = pace.pause(failures)
        FOLLOWER_RECONNECTS.labels(name).inc()
        _report(log, name, error, failures, pause)
        await asyncio.sleep(pause)


def _report(log: Any, name: str, error: Exception | None, failures: int, pause: float) -> None:
    fields: dict[str, Any] = {
        "stream": name,
        "failures": failures,
        "pause_seconds": round(pause, 3),
    }
    if error is None:
        log.info("stream ended", **fields)
    elif isinstance(error, grpc.aio.AioRpcError | TimeoutError | ConnectionError):
        code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "SILENCE"
        log.warning("stream lost", code=code, **fields)
    elif (gone := dependency_of(error)) is not None:
        # It comes back, and a trace would say nothing more: a line a try is enough.
        log.warning("stream not applied", gone=gone, error=type(error).__name__, **fields)
    else:
        log.error("stream not applied", exc_info=error, **fields)


async def _responses(stream: Any, pace: Pace) -> AsyncGenerator[Batch, None]:
    """The responses of a call, which is cancelled when whoever reads them stops."""
    iterator = aiter(stream)
    try:
        while True:
            with suppress(StopAsyncIteration):
                async with asyncio.timeout(pace.silence_seconds):
                    response = await anext(iterator)
                yield response
                continue
            return
    finally:
        cancel = getattr(stream, "cancel", None)
        if cancel is not None:
            cancel()


def _news(response: Batch, cursors: Cursors) -> tuple[list[ChangeLike], dict[int, int]]:
    """The changes after the cursors, and the cursors that move.

    After a reconnect a server may repeat what is applied already; that is dropped. A cursor never
    goes back, and never stays behind a change of its own response.
    """
    moved: dict[int, int] = {}
    fresh: list[ChangeLike] = []
    last: dict[int, int] = {}
    for change in response.changes:
        if change.sequence <= last.get(change.bucket, 0):
            raise OutOfOrder(
                f"bucket {change.bucket}: {change.sequence} after {last[change.bucket]}"
            )
        last[change.bucket] = change.sequence
        if change.sequence > cursors.get(change.bucket, 0):
            fresh.append(change)
            moved[change.bucket] = change.sequence
    for bucket, sequence in response.cursors.items():
        if sequence > max(cursors.get(bucket, 0), moved.get(bucket, 0)):
            moved[bucket] = sequence
    return fresh, moved

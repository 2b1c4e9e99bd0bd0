"""A follower applies every change exactly once, whatever breaks on the way."""

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
import pytest

from chassis import logs
from chassis.streams import Pace, follow
from loyalty.ledger.v1 import ledger_pb2
from testkit.keys import metadata
from tests.chassis.scripted import scripted, stub

QUICK = Pace(first_seconds=0.001, last_seconds=0.01, silence_seconds=0.2)
BUCKETS = 3
SEQUENCES = 40
Response = ledger_pb2.WatchChangesResponse
Key = tuple[int, int]


def response(*keys: Key, **cursors: int) -> Response:
    made = Response(cursors={int(bucket[1:]): at for bucket, at in cursors.items()})
    for bucket, sequence in keys:
        made.changes.add(bucket=bucket, sequence=sequence)
    return made


class Store:
    """A table of cursors and a table of effects, which commit together or not at all."""

    def __init__(self) -> None:
        self.cursors: dict[int, int] = {}
        self.effects: list[Key] = []

    async def load(self) -> Mapping[int, int]:
        return self.cursors

    async def apply(self, changes: Sequence[Any], cursors: Mapping[int, int]) -> None:
        self.effects += [(each.bucket, each.sequence) for each in changes]
        self.cursors = {**self.cursors, **cursors}


async def until(condition: Any, follower: Any, seconds: float = 20.0) -> None:
    """Run a follower until a condition holds, and then stop it."""
    task = asyncio.ensure_future(follower)
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                assert not task.done()
                await asyncio.sleep(0.002)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_changes_come_with_the_cursors_to_store_beside_their_effect() -> None:
    store = Store()

    async def call() -> AsyncIterator[Response]:
        yield response((0, 1), (1, 4), b0=1, b1=4)
        yield response(b2=9)
        await asyncio.sleep(60)

    await until(lambda: 2 in store.cursors, follow(lambda _: call(), store.load, store.apply))

    assert store.effects == [(0, 1), (1, 4)]
    assert store.cursors == {0: 1, 1: 4, 2: 9}


async def test_what_is_repeated_is_dropped_and_no_cursor_goes_back() -> None:
    store = Store()
    store.cursors = {0: 5}

    async def call() -> AsyncIterator[Response]:
        yield response((0, 4), (0, 5), (0, 6), b0=3)
        yield response((0, 6), (0, 7), b0=7)
        await asyncio.sleep(60)

    await until(lambda: store.cursors[0] == 7, follow(lambda _: call(), store.load, store.apply))

    assert store.effects == [(0, 6), (0, 7)]


async def test_a_heartbeat_without_news_is_not_applied() -> None:
    store, beats = Store(), list[int]()

    async def apply(_changes: Sequence[Any], _cursors: Mapping[int, int]) -> None:
        raise AssertionError("there is nothing to apply")

    async def call() -> AsyncIterator[Response]:
        for beat in range(3):
            beats.append(beat)
            yield response(b0=0)
        beats.append(3)
        await asyncio.sleep(60)

    await until(lambda: len(beats) == 4, follow(lambda _: call(), store.load, apply))

    assert store.cursors == {}


async def test_a_change_that_cannot_be_applied_is_tried_again_and_never_skipped() -> None:
    store, attempts = Store(), list[Any]()

    async def apply(changes: Sequence[Any], cursors: Mapping[int, int]) -> None:
        attempts.append(dict(cursors))
        if len(attempts) < 4:
            raise ValueError("the effect does not work yet")
        await store.apply(changes, cursors)

    async def call(cursors: Mapping[int, int]) -> AsyncIterator[Response]:
        for sequence in range(cursors.get(0, 0) + 1, 4):
            yield response((0, sequence), b0=sequence)
        await asyncio.sleep(60)

    await until(lambda: len(store.effects) == 3, follow(call, store.load, apply, pace=QUICK))

    assert store.effects == [(0, 1), (0, 2), (0, 3)]
    assert attempts[:4] == [{0: 1}] * 4


@pytest.mark.parametrize(
    "error, traced",
    [
        (asyncpg.CannotConnectNowError("the database system is starting up"), False),
        (asyncpg.InterfaceError("connection is closed"), False),
        (ConnectionRefusedError("nobody listens"), False),
        (TimeoutError(), False),
        (asyncpg.UniqueViolationError("twice"), True),
        (ValueError("a mistake of ours"), True),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_database_that_is_away_is_a_line_a_try_and_a_mistake_has_its_trace(
    error: Exception, traced: bool
) -> None:
    store = Store()

    async def apply(_changes: Sequence[Any], _cursors: Mapping[int, int]) -> None:
        raise error

    async def call(_cursors: Mapping[int, int]) -> AsyncIterator[Response]:
        yield response((0, 1), b0=1)

    written = io.StringIO()
    logs.configure(service="test", level="INFO", stream=written)
    try:
        await until(
            lambda: written.getvalue().count("\n") >= 3,
            follow(call, store.load, apply, name="ledger", pace=QUICK),
        )
    finally:
        logs.configure(service="test", level="ERROR")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]

    assert {("exception" in line, line["stream"]) for line in lines} == {(traced, "ledger")}


async def test_a_commit_whose_answer_was_lost_is_not_applied_again() -> None:
    store = Store()

    async def apply(changes: Sequence[Any], cursors: Mapping[int, int]) -> None:
        await store.apply(changes, cursors)
        if len(store.effects) == 1:
            raise ConnectionError("committed, and nobody heard it")

    async def call(_cursors: Mapping[int, int]) -> AsyncIterator[Response]:
        yield response((0, 1), b0=1)
        yield response((0, 2), b0=2)
        await asyncio.sleep(60)

    await until(lambda: len(store.effects) >= 2, follow(call, store.load, apply, pace=QUICK))

    assert store.effects == [(0, 1), (0, 2)]


async def test_a_stream_that_falls_silent_is_opened_again() -> None:
    store, opened = Store(), list[int]()

    async def call(_cursors: Mapping[int, int]) -> AsyncIterator[Response]:
        opened.append(len(opened))
        if len(opened) == 1:
            await asyncio.sleep(3600)
        yield response((0, 1), b0=1)
        await asyncio.sleep(60)

    await until(lambda: store.effects, follow(call, store.load, store.apply, pace=QUICK))

    assert len(opened) == 2


async def test_a_stream_out_of_order_is_not_applied() -> None:
    store, opened = Store(), list[int]()

    async def call(_cursors: Mapping[int, int]) -> AsyncIterator[Response]:
        opened.append(len(opened))
        yield response((0, 2), (0, 1), b0=2) if len(opened) == 1 else response((0, 1), (0, 2))
        await asyncio.sleep(60)

    await until(lambda: store.effects, follow(call, store.load, store.apply, pace=QUICK))

    assert store.effects == [(0, 1), (0, 2)]


def test_pauses_grow_to_a_bound_and_are_spread() -> None:
    pace = Pace(first_seconds=0.1, last_seconds=5.0)

    pauses = [pace.pause(failures) for failures in range(1, 2000)]
    assert max(pauses) <= 5.0
    assert max(pauses[:2]) <= 0.4
    assert len(set(pauses)) > 1900


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_missed_or_doubled_whatever_breaks(seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    store = Store()

    async def watch(request: Any, _context: Any) -> AsyncIterator[Response]:
        at = {bucket: max(0, request.cursors[bucket] - chance.randrange(2)) for bucket in range(3)}
        while any(at[bucket] < SEQUENCES for bucket in at):
            made = Response()
            for bucket in chance.sample(range(BUCKETS), k=2):
                upto = min(SEQUENCES, at[bucket] + chance.randrange(4))
                for sequence in range(at[bucket] + 1, upto + 1):
                    made.changes.add(bucket=bucket, sequence=sequence)
                at[bucket] = made.cursors[bucket] = upto
            yield made
            if chance.random() < 0.2:
                raise ConnectionError("the server's database went away")
        await asyncio.sleep(60)

    async def apply(changes: Sequence[Any], cursors: Mapping[int, int]) -> None:
        if chance.random() < 0.1:
            raise ValueError("rolled back")
        await store.apply(changes, cursors)
        if chance.random() < 0.1:
            raise ConnectionError("committed, and nobody heard it")

    async with scripted(watch=watch) as (_, channel):

        def call(cursors: Mapping[int, int]) -> Any:
            return stub(channel).WatchChanges(
                ledger_pb2.WatchChangesRequest(cursors=cursors), metadata=metadata()
            )

        # The follower itself is killed every now and then, too.
        while len(store.effects) < BUCKETS * SEQUENCES:
            follower = asyncio.ensure_future(follow(call, store.load, apply, pace=QUICK))
            await asyncio.sleep(chance.uniform(0.005, 0.05))
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    for bucket in range(BUCKETS):
        applied = [sequence for at, sequence in store.effects if at == bucket]
        assert applied == list(range(1, SEQUENCES + 1))

"""Reading a stream ahead: in larger pieces, bounded, and ending as the stream ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from loyalty.ledger.v1 import ledger_pb2
from services.tiers.jobs.merged import PIECES_MAX, Merged


class Call:
    """A stream that sends when it is told to, and remembers how far it was read."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self._count = count
        self._error = error
        self.sent = 0
        self.cancelled = False

    async def __aiter__(self) -> AsyncIterator[ledger_pb2.WatchChangesResponse]:
        for number in range(1, self._count + 1):
            response = ledger_pb2.WatchChangesResponse(cursors={0: number})
            response.changes.add(bucket=0, sequence=number)
            self.sent = number
            yield response
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        self.cancelled = True


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_arrived_meanwhile_is_one_piece_and_the_rest_waits() -> None:
    call = Call(100)
    merged = Merged(call)
    await settled()
    ahead = call.sent
    pieces = [piece async for piece in merged]
    sequences = [change.sequence for piece in pieces for change in piece.changes]

    assert ahead == PIECES_MAX + 1
    assert sequences == list(range(1, 101))
    assert all(piece.cursors == {0: piece.changes[-1].sequence} for piece in pieces)
    assert len(pieces) < 100


async def test_a_piece_is_given_at_once() -> None:
    merged = Merged(Call(1))

    async with asyncio.timeout(5):
        piece = await anext(merged)

    assert piece.cursors == {0: 1}


async def test_a_stream_that_fails_gives_what_came_before_and_then_fails() -> None:
    merged = Merged(Call(3, ConnectionError("gone")))
    await settled()

    piece = await anext(merged)
    with pytest.raises(ConnectionError, match="gone"):
        await anext(merged)

    assert [change.sequence for change in piece.changes] == [1, 2, 3]


async def test_cancelling_ends_the_call_and_the_reading() -> None:
    call = Call(1000)
    merged = Merged(call)
    await settled()
    before = len(asyncio.all_tasks())
    merged.cancel()
    await settled()

    assert call.cancelled
    assert len(asyncio.all_tasks()) == before - 1

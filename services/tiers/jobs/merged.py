"""A stream read ahead while what came before is applied, in larger pieces than it was sent."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

PIECES_MAX = 8
"""How many responses are read ahead, and merged at most: what the memory of a follower holds."""


@dataclass(slots=True)
class Piece:
    """What several responses say together: changes in sequence, and the cursors after them."""

    changes: list[Any] = field(default_factory=list)
    cursors: dict[int, int] = field(default_factory=dict)

    def add(self, response: Any) -> None:
        """Take in the next response."""
        self.changes.extend(response.changes)
        self.cursors.update(response.cursors)


class Merged:
    """A call's responses in pieces: everything that has arrived by the time it is asked for.

    Who catches up meets the same members again and again, and evaluates each once a piece; who
    keeps up gets every response by itself.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._arrived: asyncio.Queue[Any] = asyncio.Queue(PIECES_MAX)
        self._reading = asyncio.create_task(self._read())
        # Whoever stopped reading does not ask any more why the stream ended.
        self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._ended = False

    def __aiter__(self) -> Self:
        """The pieces, until the stream ends or fails."""
        return self

    async def __anext__(self) -> Piece:
        """What has arrived, as soon as anything has; raises what the stream failed with."""
        piece = Piece()
        while not self._ended:
            response = await self._arrived.get()
            self._ended = response is None
            if response is not None:
                piece.add(response)
            if self._arrived.empty() and piece.cursors:
                return piece
        if piece.cursors:
            return piece
        await self._reading
        raise StopAsyncIteration

    def cancel(self) -> None:
        """End the call, and the reading ahead."""
        self._reading.cancel()
        self._call.cancel()

    async def _read(self) -> None:
        try:
            async for response in self._call:
                await self._arrived.put(response)
        except Exception:
            await self._arrived.put(None)
            raise
        await self._arrived.put(None)

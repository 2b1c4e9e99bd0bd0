"""Where a draw comes from: plain dice, or hypothesis, which can make a failure smaller."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
RARELY = 20


class Chance:
    """Everything is drawn as a number."""

    def number(self, low: int, high: int) -> int:
        """A number of a range, both ends included."""
        raise NotImplementedError

    def pick(self, choices: Sequence[T]) -> T:
        """One of several."""
        return choices[self.number(0, len(choices) - 1)]

    def coin(self) -> bool:
        """Heads or tails."""
        return self.number(0, 1) == 1

    def rare(self) -> bool:
        """True once in twenty."""
        return self.number(0, RARELY - 1) == 0

    def shuffled(self, rows: Sequence[T]) -> list[T]:
        """The rows in another order."""
        left = list(rows)
        return [left.pop(self.number(0, len(left) - 1)) for _ in rows]


class Dice(Chance):
    """As fast as it gets; the same seed gives the same numbers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self, low: int, high: int) -> int:
        """A number of a range, each as likely as the others."""
        return self._random.randint(low, high)


class Drawn(Chance):
    """What hypothesis draws."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw

    def number(self, low: int, high: int) -> int:
        """A number of a range; small ones are the simpler ones."""
        return self._draw(st.integers(low, high))

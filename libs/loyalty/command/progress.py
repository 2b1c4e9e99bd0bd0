"""Shows how far a long job is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

LINE_SECONDS = 5.0


class Progress(Protocol):
    """Where a job says how far it is."""

    def begin(self, done: int) -> None:
        """So many had been done before."""

    def reached(self, done: int, day: datetime | None = None) -> None:
        """So many are done, the last one of that day."""

    def say(self, text: str) -> None:
        """Say something in between; the same thing is not said in a hurry."""


@contextmanager
def shown_progress(console: Console, name: str, total: int) -> Iterator[Progress]:
    """Show the progress of a job with `total` items while the context lasts."""
    if not console.is_terminal:
        yield _Lines(console, name, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, speed_estimate_period=10) as bar:
        yield _Bar(bar, name, total)


class _RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """The rate of a task."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class _Talk:
    """Says what is new at once, and what was just said now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._when = 0.0

    def say(self, text: str) -> None:
        """Say it, unless that was just done."""
        begin = text.partition(";")[0]
        if begin == self._said and time.monotonic() - self._when < LINE_SECONDS:
            return
        self._said, self._when = begin, time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Bar(_Talk):
    def __init__(self, bar: Bar, name: str, total: int) -> None:
        super().__init__(bar.console)
        self._bar = bar
        self._name = name
        self._task = bar.add_task(name, total=total)

    def begin(self, done: int) -> None:
        self._bar.update(self._task, completed=done)
        # What was done before says nothing about the rate.
        self._bar.reset(self._task, completed=done)

    def reached(self, done: int, day: datetime | None = None) -> None:
        text = self._name + _of(day)
        self._bar.update(self._task, completed=done, description=text)


class _Lines(_Talk):
    def __init__(self, console: Console, name: str, total: int) -> None:
        super().__init__(console)
        self._out = console
        self._name = name
        self._total = total
        self._begun, self._began = 0, time.monotonic()
        self._line = self._began

    def begin(self, done: int) -> None:
        self._begun, self._began = done, time.monotonic()

    def reached(self, done: int, day: datetime | None = None) -> None:
        now = time.monotonic()
        if now - self._line < LINE_SECONDS:
            return
        self._line = now
        rate = (done - self._begun) / (now - self._began)
        left = (self._total - done) / rate if rate else 0.0
        self._out.print(
            f"{self._name}{_of(day)}: {done:,} of {self._total:,} rows, {rate:,.0f} rows/s,"
            f" {left:,.0f} s left",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _of(day: datetime | None) -> str:
    return "" if day is None else f" {day:%Y-%m-%d}"

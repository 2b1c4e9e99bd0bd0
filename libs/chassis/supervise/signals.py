"""Waiting for something to happen: a request to stop, the end of a child, or time."""

import signal
import time
from types import TracebackType
from typing import Self

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Signals:
    """Signals are blocked and fetched when there is time for them, so they interrupt nothing."""

    def __init__(self) -> None:
        self.stops = 0
        # `nohup` means that the end of the terminal does not matter.
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._stopping = STOPPING - {signal.SIGHUP} if nohup else STOPPING
        self._watched = self._stopping | {signal.SIGCHLD}
        self._before: set[signal.Signals | int] = set()

    def __enter__(self) -> Self:
        """Begin to hold signals back, for this thread and those that it starts."""
        self._before = set(signal.pthread_sigmask(signal.SIG_BLOCK, self._watched))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let signals through again, having dropped those that were still waiting."""
        while signal.sigtimedwait(self._watched, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, seconds: float) -> bool:
        """Wait until a stop is asked for (answers True), a child ends, or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            found = signal.sigtimedwait(self._watched, max(0.0, deadline - time.monotonic()))
            if found is None:
                return self.stops > 0
            if found.si_signo in self._stopping:
                self.stops += 1
                return True
            if signal.SIGCHLD not in signal.sigpending():
                return self.stops > 0

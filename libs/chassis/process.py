"""A service's process: one event loop, and a stop that is asked for by a signal."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service's `main` to its end, on uvloop."""
    uvloop.run(main)


async def stop_requested() -> None:
    """Wait for SIGTERM or SIGINT. A second signal is the system's own again, and ends at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, stop.set)
    try:
        await stop.wait()
    finally:
        for each in signals:
            loop.remove_signal_handler(each)

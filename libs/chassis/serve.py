"""What every service's process does around its serving."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from chassis import logs, spans
from chassis.server import PortTaken
from chassis.settings import ServiceSettings, WrongSettings, read_settings

Settings = TypeVar("Settings", bound=ServiceSettings)


def run_service(
    name: str,
    kind: type[Settings],
    serve: Callable[[Settings, asyncio.Event], Awaitable[None]],
) -> None:
    """Be the service `name` until SIGTERM or SIGINT sets the event that `serve` waits for.

    Where a setting is wrong or a port taken, the process ends with one sentence about it.
    """
    try:
        settings = read_settings(kind)
        logs.configure(service=name, level=settings.log_level, as_json=settings.log_json)
        spans.configure(service=name, endpoint=settings.otlp_endpoint, sample=settings.trace_sample)
        uvloop.run(_until_stopped(settings, serve))
    except (WrongSettings, PortTaken) as error:
        sys.exit(f"{name}: {error}")
    finally:
        spans.close()


async def _until_stopped(
    settings: Settings, serve: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(settings, stopping)

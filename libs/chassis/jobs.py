"""What a service does besides answering calls."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(jobs: Iterable[Coroutine[Any, Any, Any]]) -> AsyncIterator[None]:
    """Run jobs, each in a task of its own, while the context lasts; they are cancelled at its end.

    A job that ends, or breaks, stops no other.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

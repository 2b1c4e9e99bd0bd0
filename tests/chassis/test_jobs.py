"""Jobs run beside what a service answers, and end with it."""

import asyncio

import pytest

from chassis.jobs import beside


async def test_jobs_run_while_the_context_lasts_and_one_that_breaks_stops_no_other() -> None:
    said: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            said.append("ended")

    async def broken() -> None:
        said.append("broke")
        raise ValueError

    async def serve() -> None:
        async with beside([broken(), endless()]):
            await asyncio.sleep(0.01)
            said.append("served")
            raise KeyError

    with pytest.raises(KeyError):
        await serve()
    assert said == ["broke", "served", "ended"]

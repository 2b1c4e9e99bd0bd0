"""Takes up events that were logged and not finished, again and again."""

import asyncio
import random
from typing import NoReturn

from chassis.logs import logger
from services.rules.operations.context import RulesContext
from services.rules.operations.redrive import BATCH, redrive


async def run(context: RulesContext, every_seconds: float) -> NoReturn:
    """Work until cancelled. Nothing that fails stops it: the same events come up again."""
    log = logger("redrive")
    while True:
        taken = done = 0
        try:
            taken, done = await redrive(context)
            if taken:
                log.info("unfinished events taken up", taken=taken, finished=done)
        except Exception as error:  # noqa: BLE001 - whatever fails is tried again
            log.warning("unfinished events not taken up", error=repr(error))
        if taken < BATCH or not done:
            # Processes that were started together do not stay together.
            await asyncio.sleep(every_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

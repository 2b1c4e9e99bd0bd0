"""Follows the ledger's stream for who was erased, and for nothing else."""

import time
from collections.abc import Sequence
from typing import Any, NoReturn

from chassis.credentials import OwnCredentials
from chassis.streams import Cursors, Pace, follow
from services.rules.operations.context import RulesContext
from services.rules.operations.forget import forget_members, load_cursors
from services.rules.peers.erasures import STREAM, Erasures, erased_of

PACE = Pace(first_seconds=0.1, last_seconds=2.0)
SAVE_S = 60.0
"""How often cursors are stored that moved over what others published."""


async def run(context: RulesContext, ledger: Erasures, credentials: OwnCredentials) -> NoReturn:
    """Follow for ever; cancelled to stop."""
    saved = time.monotonic()

    async def load() -> Cursors:
        return await load_cursors(context)

    async def apply(changes: Sequence[Any], moved: Cursors) -> None:
        nonlocal saved
        now = time.monotonic()
        if changes or now - saved >= SAVE_S:
            await forget_members(context, erased_of(changes), moved)
            saved = now

    await follow(
        lambda cursors: ledger.watch(cursors, credentials.following()),
        load,
        apply,
        name=STREAM,
        pace=PACE,
    )

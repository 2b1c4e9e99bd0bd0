"""Looking at all accounts of a program again, where a setting made something fall due earlier.

It can stop anywhere and goes on where it was; doing a part twice does nothing.
"""

from chassis.database import ACQUIRE_TIMEOUT_S, Pool
from services.ledger.operations.context import Settler
from services.ledger.store import waking

CHUNK = 500


async def wake_some(reads: Pool, settler: Settler, program: int | None = None) -> bool:
    """Look at some accounts again, of a program or of any on the server's clock; False if none."""
    async with reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await waking.waking(connection, program)
        if found is None:
            return False
        key, after = found
        accounts = await waking.page_after(connection, key, after, CHUNK)
    if accounts:
        await settler.settle(accounts, again=True)
    last = accounts[-1][1] if accounts else None
    async with reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        await waking.woken(connection, key, after, last)
    return True

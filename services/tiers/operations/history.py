"""Where a member stood: its changes, the latest first."""

from collections.abc import Sequence

from services.tiers.operations.context import TiersContext
from services.tiers.operations.watch_changes import Told
from services.tiers.store import changes
from services.tiers.store.connections import reading
from services.tiers.store.ladders import Program

LATEST = 2**63 - 1


async def page_of_history(
    context: TiersContext, program: Program, member: str, before: int, size: int
) -> tuple[Sequence[Told], bool]:
    """At most `size` changes before a sequence, and whether there are more.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND.
    """
    bucket = context.bucket(program.organization, member)
    async with reading(context.reads) as connection:
        found = await changes.history(connection, bucket, program, member, before, size + 1)
        told = [
            Told(each, await context.ladders.get(connection, program, each.fact.ladder))
            for each in found[:size]
        ]
    if not told:
        # Only the ledger knows a member who was never evaluated.
        await context.ledger.account(program.id, member, ())
    return told, len(found) > size

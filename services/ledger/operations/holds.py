"""Holds: found by their ids, closed, answered and listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.ids import bucket_and_low, uuid7
from services.ledger.domain.account import Hold
from services.ledger.domain.policy import Policy
from services.ledger.domain.refusals import HoldNotFound
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.read_account import read_views
from services.ledger.operations.sight import Member, read_for
from services.ledger.store import history, rare
from services.ledger.store.accounts import Key


@dataclass(frozen=True, slots=True)
class FoundHold:
    """A hold, in whose account it is, and whose doing it was."""

    hold: Hold
    key: Key
    member: str
    account_member: str
    of: Key | None
    policy: Policy


async def find_hold(
    context: LedgerContext, organization: str, program: str, hold: str, member: str = ""
) -> FoundHold:
    """A hold as it is stored; with a member only that member's. Refuses with HOLD_NOT_FOUND."""
    identity = await context.environment.cache.identity(organization, program)
    identifier = UUID(hold)
    place = bucket_and_low(identifier)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        stored = (await history.read_postings(connection, [place])).get(place)
        if stored is None or stored.program != identity.key or stored.posting.id() != identifier:
            raise HoldNotFound(hold)
        found = await rare.read_hold(connection, stored.account, stored.posting.first_entry)
    posting = stored.posting
    account_member = posting.account_member or posting.member
    if found is None or member not in ("", posting.member, account_member):
        raise HoldNotFound(hold)
    policy = await context.environment.policy(stored.program, posting.revision)
    return FoundHold(
        found, stored.account, posting.member, account_member, posting.addressee, policy
    )


async def get_hold(context: LedgerContext, organization: str, program: str, hold: str) -> FoundHold:
    """A hold as it stands, with everything due posted. PROGRAM_NOT_FOUND, HOLD_NOT_FOUND."""
    found = await find_hold(context, organization, program, hold)
    await read_views(context, [found.key])
    return await find_hold(context, organization, program, hold)


@dataclass(frozen=True, slots=True)
class HoldPage:
    """Holds with their lots' ids, newest first, and whether more follow."""

    holds: Sequence[Hold]
    lots: dict[int, UUID]
    more: bool
    policy: Policy
    key: Key


async def page_of_holds(
    context: LedgerContext, member: Member, include_closed: bool, before: int, size: int
) -> HoldPage:
    """A member's holds below a sequence. Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    read = await read_for(context, member)
    key, policy = read.view.key, read.policy
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await rare.page_of_holds(connection, key, before, include_closed, size + 1)
        lots = await history.lot_ids(
            connection, {(*key, lot) for hold in found for lot, _ in hold.parts}
        )
    return HoldPage(
        found[:size],
        {sequence: lot for (_, _, sequence), lot in lots.items()},
        len(found) > size,
        policy,
        key,
    )


async def lots_of_hold(context: LedgerContext, key: Key, hold: Hold) -> dict[int, UUID]:
    """The ids of the lots that a hold set points aside of, by sequence."""
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        lots = await history.lot_ids(connection, {(*key, lot) for lot, _ in hold.parts})
    return {sequence: lot for (_, _, sequence), lot in lots.items()}


def hold_id(hold: Hold, bucket: int) -> UUID:
    """The id of a saved hold: that of the posting that made it."""
    return uuid7(hold.create_time, bucket, hold.posting)

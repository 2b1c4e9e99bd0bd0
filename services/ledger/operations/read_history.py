"""Reading history: entries, lots, expirations and postings, in pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.ids import bucket_and_low
from services.ledger.domain import expiry
from services.ledger.domain.expirations import Expiration, upcoming
from services.ledger.domain.policy import Policy
from services.ledger.domain.refusals import PostingNotFound
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.post import Written
from services.ledger.operations.sight import (
    Member,
    Query,
    read_for,
    seen_entries,
    sight_of,
    stretch_of,
)
from services.ledger.store import accounts as account_rows
from services.ledger.store import history
from services.ledger.store.accounts import Key
from services.ledger.store.history import StoredEntry, StoredLot

FIRST_PAGE = 2**62


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Entries, newest first, whether more follow, and whether the reader may not see all."""

    entries: Sequence[StoredEntry]
    more: bool
    policy: Policy
    confined: bool


async def page_of_entries(
    context: LedgerContext, member: Member, query: Query, before: int, size: int
) -> EntryPage:
    """A member's entries below a sequence.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, CURRENCY_NOT_FOUND, PERMISSION_MISSING,
    GROUP_NOT_FOUND.
    """
    read = await read_for(context, member)
    key, policy = read.view.key, read.policy
    number = policy.currency(query.currency).number if query.currency else None
    sight = await sight_of(context, member, read.view, query.attributed_member)
    last = max(0, min(before - 1, read.view.sequence))
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        stretch = await stretch_of(connection, query, key, last, number)
        found = await seen_entries(connection, stretch, sight, size + 1)
    return EntryPage(found[:size], len(found) > size, policy, sight.confined)


@dataclass(frozen=True, slots=True)
class LotPage:
    """Lots, newest first, and whether more follow."""

    lots: Sequence[StoredLot]
    more: bool
    policy: Policy
    key: Key
    expires: dict[int, datetime]


async def page_of_lots(
    context: LedgerContext,
    member: Member,
    currency: str,
    include_closed: bool,
    before: int,
    size: int,
) -> LotPage:
    """A member's lots below a sequence, with the instants at which those with points left expire.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, CURRENCY_NOT_FOUND.
    """
    read = await read_for(context, member)
    key, policy = read.view.key, read.policy
    number = policy.currency(currency).number if currency else None
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await history.page_of_lots(
            connection, key, before, number, include_closed, size + 1
        )
        account = (await account_rows.read(connection, [key]))[key].account
    last = account.last_activity_time
    expires = {
        stored.lot.sequence: instant
        for stored in found
        if stored.lot.free or stored.lot.held
        if (instant := expiry.expires(stored.lot, last, policy.zone)) != expiry.FOREVER
    }
    return LotPage(found[:size], len(found) > size, policy, key, expires)


@dataclass(frozen=True, slots=True)
class ExpirationPage:
    """Expirations, soonest first, and whether more follow."""

    expirations: Sequence[Expiration]
    more: bool
    policy: Policy


async def page_of_expirations(
    context: LedgerContext,
    member: Member,
    currency: str,
    after: tuple[date, int] | None,
    size: int,
) -> ExpirationPage:
    """What will expire after a local date and currency number.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, CURRENCY_NOT_FOUND.
    """
    read = await read_for(context, member)
    key, policy = read.view.key, read.policy
    number = policy.currency(currency).number if currency else None
    async with (
        context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        loaded = await account_rows.read(connection, [key])
        await account_rows.load_open_lots(connection, loaded, [key])
    account = loaded[key].account
    lots = [lot for lot in account.lots.values() if number is None or lot.currency == number]
    found = [
        expiration
        for expiration in upcoming(lots, account.last_activity_time, policy.zone)
        if after is None or (expiration.date, expiration.currency) > after
    ]
    return ExpirationPage(found[:size], len(found) > size, policy)


async def get_posting(
    context: LedgerContext, organization: str, program: str, posting: str
) -> Written:
    """One posting with all its entries. Refusals: PROGRAM_NOT_FOUND, POSTING_NOT_FOUND."""
    identity = await context.environment.cache.identity(organization, program)
    identifier = UUID(posting)
    place = bucket_and_low(identifier)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        stored = (await history.read_postings(connection, [place])).get(place)
    if stored is None or stored.program != identity.key or stored.posting.id() != identifier:
        raise PostingNotFound(posting)
    policy = await context.environment.policy(stored.program, stored.posting.revision)
    return Written(stored.posting, False, policy, None)

"""What of an account may be told to whom: in a group a member sees its own doings."""

from dataclasses import dataclass
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from kernel.refusals import MemberNotFound
from services.ledger.domain.account import AccountKind
from services.ledger.domain.groups import Permission
from services.ledger.domain.refusals import GroupNotFound, PermissionMissing
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import AccountView
from services.ledger.operations.read_account import AccountRead, addresses, read_account
from services.ledger.store import attribution, history, statements
from services.ledger.store.accounts import Key
from services.ledger.store.history import StoredEntry, Stretch


@dataclass(frozen=True, slots=True)
class Member:
    """Whose history is read.

    `itself` where the member reads with its own token, `own` where its own account is meant though
    its points are in another one.
    """

    organization: str
    program: str
    member: str
    itself: bool = False
    own: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What is told of an account: what some members did (None: everything).

    `confined` where the reader may not see more; then lots of others are not named either.
    """

    doers: tuple[Key, ...] | None = None
    confined: bool = False


EVERYTHING = Sight()


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries: recorded from `start` on, before `end`; None is the beginning, and now.

    Of one currency, some kinds, and whose doing it was, where given.
    """

    currency: str = ""
    attributed_member: str = ""
    start: datetime | None = None
    end: datetime | None = None
    kinds: tuple[int, ...] | None = None
    newest_first: bool = True


async def read_for(context: LedgerContext, reader: Member) -> AccountRead:
    """The account that a member's history is in, with everything due posted.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND.
    """
    return await read_account(
        context, reader.organization, reader.program, reader.member, own=reader.own
    )


async def sight_of(
    context: LedgerContext, reader: Member, view: AccountView, attributed: str = ""
) -> Sight:
    """What of an account is told to who reads it, and asks for the doings of one member or of all.

    Refusals: PERMISSION_MISSING, GROUP_NOT_FOUND, MEMBER_NOT_FOUND.
    """
    if view.kind is AccountKind.PERSON:
        if attributed:
            raise GroupNotFound(reader.member)
        return EVERYTHING
    if not attributed and not reader.itself:
        return EVERYTHING
    key = await _address(context, reader, reader.member)
    asked = await _address(context, reader, attributed) if attributed else None
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        if reader.itself and key is not None and key != view.key:
            own = await attribution.accounts_of_person(connection, key)
            role = await _unable_to_manage(connection, view.key, own)
            if role is not None:
                # Whether there is such a member is not told to who may not ask.
                if attributed and asked not in own:
                    raise PermissionMissing(role, Permission.MANAGE.name)
                return Sight(own, confined=True)
        if not attributed:
            return EVERYTHING
        doers = () if asked is None else await attribution.accounts_of_person(connection, asked)
        if not await attribution.stays_of(connection, view.key, doers):
            raise MemberNotFound(attributed)
    return Sight(doers)


async def stretch_of(
    connection: Connection, query: Query, key: Key, last: int, currency: int | None
) -> Stretch:
    """The stretch that is asked for of an account whose last entry is given."""
    first = 0
    if query.start is not None:
        first = await statements.entries_before(connection, key, query.start, last)
    if query.end is not None:
        last = await statements.entries_before(connection, key, query.end, last)
    return Stretch(key, first, last, currency, query.kinds, query.newest_first)


async def seen_entries(
    connection: Connection, stretch: Stretch, sight: Sight, limit: int
) -> list[StoredEntry]:
    """At most `limit` entries of a stretch that are told."""
    if sight.doers is None:
        return await history.page_of_entries(connection, stretch, limit)
    return await attribution.entries_of(connection, stretch, sight.doers, limit)


async def _address(context: LedgerContext, reader: Member, member: str) -> Key | None:
    name = await context.name(reader.organization, reader.program, member)
    return (await addresses(context, [name])).get(name)


async def _unable_to_manage(
    connection: Connection, group: Key, keys: tuple[Key, ...]
) -> str | None:
    """The role in a group that does not permit to manage it; None where it does."""
    role = ""
    for stay in await attribution.stays_of(connection, group, keys):
        if stay.now:
            role = stay.role
            if Permission.MANAGE in stay.rules.permissions(role):
                return None
    return role

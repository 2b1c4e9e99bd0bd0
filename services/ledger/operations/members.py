"""Who is a member of a program: reading, finding by an identifier, changing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.ids import bucket_of
from kernel.refusals import FieldViolation, InvalidField, MemberNotFound
from services.ledger.domain.account import State
from services.ledger.domain.identifiers import (
    Identifier,
    IdentifierExists,
    IdentifierNotFound,
    check_count,
    etag_of_member,
)
from services.ledger.domain.programs import check_etag
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.store import identifiers, member_writes, members
from services.ledger.store.members import MemberRow
from services.ledger.store.tables import Transaction

BILLING_DAY = "billing_day"


@dataclass(frozen=True, slots=True)
class MemberUpdate:
    """What is asked for. An unset `billing_day` is 0."""

    billing_day: int
    mask: Collection[str]
    etag: str
    add: Sequence[Identifier]
    remove: Sequence[Identifier]
    validate_only: bool


async def get_member(
    context: ProgramContext, caller: Caller, program: str, member: str
) -> MemberRow:
    """One member of a program. PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    identity = await context.cache.identity(caller.organization, program)
    name_bucket = bucket_of(caller.organization, member, context.buckets)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await members.find_member(
            connection, identity.key, caller.organization, name_bucket, member
        )
    if found is None:
        raise MemberNotFound(member)
    return found


async def lookup_member(
    context: ProgramContext, caller: Caller, program: str, identifier: Identifier
) -> MemberRow:
    """The member who has an identifier. PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    identity = await context.cache.identity(caller.organization, program)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        member = await identifiers.lookup(connection, identity.key, identifier)
    if member is None:
        raise IdentifierNotFound(identifier.kind)
    return await get_member(context, caller, program, member)


async def page_of_members(
    context: ProgramContext,
    caller: Caller,
    program: str,
    after: tuple[int, int],
    size: int,
    *,
    merged: bool,
) -> tuple[Sequence[MemberRow], bool]:
    """At most `size` members after that (account, bucket), and whether more follow.

    They are in order of enrolment; groups are none, nor are, without `merged`, ids that were
    merged into others. Refusals: PROGRAM_NOT_FOUND.
    """
    identity = await context.cache.identity(caller.organization, program)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await members.list_members(
            connection, identity.key, caller.organization, after, size + 1, merged=merged
        )
    return found[:size], len(found) > size


async def update_member(
    context: ProgramContext, caller: Caller, program: str, member: str, update: MemberUpdate
) -> MemberRow:
    """Change a member's billing day and identifiers; with `validate_only` answer as if.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, ETAG_STALE, INVALID_FIELD, IDENTIFIER_EXISTS,
    LIMIT_REACHED.
    """
    row = await get_member(context, caller, program, member)
    async with context.engine.connect() as connection, connection.begin() as transaction:
        changed = await _changed(connection, member, row, update)
        if update.validate_only:
            await transaction.rollback()
    return changed


async def _changed(
    connection: Transaction, member: str, row: MemberRow, update: MemberUpdate
) -> MemberRow:
    key = (row.bucket, row.account)
    locked = await member_writes.lock_member(connection, key)
    if locked is None or locked[1] == State.ERASED:
        raise MemberNotFound(member)
    day = locked[0]
    owned = await member_writes.identifiers_of(connection, row.bucket, row.person)
    check_etag(update.etag, etag_of_member(day, ((one.kind, one.value) for one in owned)))
    day = _billing_day(day, update)
    for identifier in set(update.remove) & set(owned):
        await member_writes.remove_identifier(connection, identifier, row.bucket, row.person)
        owned.remove(identifier)
    for identifier in dict.fromkeys(update.add):
        if identifier in owned:
            continue
        if not await member_writes.add_identifier(connection, identifier, row.bucket, row.person):
            raise IdentifierExists(identifier.kind)
        owned.append(identifier)
    check_count(len(owned))
    if day != locked[0]:
        await member_writes.set_billing_day(connection, key, day)
    owned.sort(key=lambda one: (one.kind, one.value))
    return replace(
        row,
        state=locked[1],
        billing_day=day,
        kinds=[one.kind for one in owned],
        hashes=[one.value for one in owned],
    )


def _billing_day(now: int | None, update: MemberUpdate) -> int | None:
    for path in update.mask:
        if path != BILLING_DAY:
            raise InvalidField(FieldViolation("update_mask", f"{path!r} names no field"))
    if update.billing_day or BILLING_DAY in update.mask:
        return update.billing_day or None
    return now

"""Reading who is a member of a program."""

from collections.abc import Sequence

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.ids import bucket_of
from kernel.refusals import MemberNotFound
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.store import members
from services.ledger.store.members import MemberRow


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


async def page_of_members(
    context: ProgramContext, caller: Caller, program: str, after: int, size: int
) -> tuple[Sequence[MemberRow], bool]:
    """At most `size` members after that account, in order of enrolment, and whether more follow.

    Refusals: PROGRAM_NOT_FOUND.
    """
    identity = await context.cache.identity(caller.organization, program)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await members.list_members(
            connection, identity.key, caller.organization, after, size + 1
        )
    return found[:size], len(found) > size

"""Who belongs to an audience, and which audiences a member belongs to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import MemberNotFound
from services.audience.domain.audience import Audience
from services.audience.domain.criteria import Result, belongs, evaluate
from services.audience.domain.profile import Profile
from services.audience.domain.refusals import AudienceNotFound
from services.audience.operations.audiences import list_audiences
from services.audience.operations.context import AudienceContext, Caller, Freshness
from services.audience.peers.ledger import NAME as LEDGER
from services.audience.store import matching, profiles

PATIENCE_S = 1.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a member belongs, what decided, and how current that is."""

    results: Sequence[Result]
    freshness: Freshness | None

    def belongs(self) -> bool:
        """Whether all criteria hold."""
        return all(result.holds for result in self.results)


@dataclass(frozen=True, slots=True)
class MemberAudiences:
    """A page of the audiences that a member belongs to, and whether more follow."""

    audiences: Sequence[Audience]
    more: bool
    freshness: Freshness | None


@dataclass(frozen=True, slots=True)
class MembersPage:
    """A page of members by id, and whether more follow."""

    members: Sequence[str]
    more: bool
    freshness: Freshness | None


@dataclass(frozen=True, slots=True)
class _Seen:
    profile: Profile | None
    audiences: tuple[Audience, ...]
    freshness: Freshness | None


async def check_membership(
    context: AudienceContext, caller: Caller, program: str, member: str, audience: str
) -> Checked:
    """Whether a member belongs to an audience.

    Refusals: PROGRAM_NOT_FOUND, AUDIENCE_NOT_FOUND, MEMBER_NOT_FOUND.
    """
    seen = await _look(context, caller, program, member)
    wanted = next((each for each in seen.audiences if each.id == audience), None)
    if wanted is None:
        raise AudienceNotFound(audience)
    if seen.profile is None:
        seen = await _awaited(context, caller, program, member)
    profile = seen.profile or Profile()
    return Checked(
        [evaluate(criterion, profile) for criterion in wanted.definition.criteria],
        seen.freshness,
    )


async def page_of_member_audiences(
    context: AudienceContext, caller: Caller, program: str, member: str, after: str, size: int
) -> MemberAudiences:
    """The audiences after an id that a member belongs to. PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    seen = await _look(context, caller, program, member)
    if seen.profile is None:
        seen = await _awaited(context, caller, program, member)
    profile = seen.profile or Profile()
    found = [
        each
        for each in seen.audiences
        if each.id > after and belongs(each.definition.criteria, profile)
    ]
    return MemberAudiences(found[:size], len(found) > size, seen.freshness)


async def page_of_members(
    context: AudienceContext, caller: Caller, program: str, audience: str, after: str, size: int
) -> MembersPage:
    """The members after an id who belong. PROGRAM_NOT_FOUND, AUDIENCE_NOT_FOUND."""
    row, existing = await list_audiences(context, caller, program)
    wanted = next((each for each in existing if each.id == audience), None)
    if wanted is None or row is None:
        raise AudienceNotFound(audience)
    freshness = context.freshness()
    async with context.pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await matching.page(connection, row, wanted.definition.criteria, after, size + 1)
    return MembersPage(found[:size], len(found) > size, freshness)


async def _look(context: AudienceContext, caller: Caller, program: str, member: str) -> _Seen:
    """What is known of a member, with the program's audiences. PROGRAM_NOT_FOUND."""
    # Taken before the rows are read: the answer is at least as current as it says.
    freshness = context.freshness()
    async with context.pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await profiles.find(connection, caller.organization, program, member)
        if found is not None:
            audiences = await context.catalogue.audiences(connection, found.program)
            return _Seen(found.profile, audiences, freshness)
    await context.require_program(caller.organization, program)
    return _Seen(None, (), freshness)


async def _awaited(context: AudienceContext, caller: Caller, program: str, member: str) -> _Seen:
    """What is known of a member whose profile was not there, after a moment for it to come.

    MEMBER_NOT_FOUND where the ledger does not know the member either.
    """
    if not await context.ledger.knows(caller.organization, program, member):
        raise MemberNotFound(member)
    loop = asyncio.get_running_loop()
    patience = loop.time() + PATIENCE_S
    seen = await _look(context, caller, program, member)
    while seen.profile is None and loop.time() < patience:
        await context.progress[LEDGER].wait(POLL_S)
        seen = await _look(context, caller, program, member)
    return seen

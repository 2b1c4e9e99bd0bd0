"""Where members stand: asked, and evaluated.

Tiers are counted where the points are: who belongs to a group stands where the group stands, and an
id that was merged into another where that one does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chassis.refusals import DependencyUnavailable
from kernel.refusals import MemberNotFound
from services.tiers.domain.ladder import IMPLICIT, Ladder
from services.tiers.domain.membership import Reading, Standing, stands
from services.tiers.operations.context import TiersContext
from services.tiers.operations.settle import Evaluation, LadderMoved, persistently, settle
from services.tiers.store import memberships
from services.tiers.store.connections import reading, writing
from services.tiers.store.ladders import Program
from services.tiers.store.memberships import Key


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a member stands. Without a `reading` the ledger could not be asked."""

    member: str
    ladder: Ladder
    standing: Standing
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Placements:
    """Members in the order asked, and those that are not enrolled."""

    found: Sequence[Placement]
    missing: Sequence[str]


async def get_membership(context: TiersContext, program: Program, member: str) -> Placement:
    """Where a member stands, by the ledger's numbers of now.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND.
    """
    return await persistently(context, lambda: _get_membership(context, program, member))


async def _get_membership(context: TiersContext, program: Program, member: str) -> Placement:
    ladder, standings = await load(context, program, [member])
    # Not in a batch: this one a member may ask for, too.
    read = await context.ledger.account(program.id, member, ladder.windows())
    standings |= await _held(context, program, ladder, [read])
    standing = standings.get(read.holder or member)
    return Placement(member, ladder, stands(ladder, standing, read), read)


async def get_memberships(
    context: TiersContext, program: Program, members: Sequence[str], *, brief: bool
) -> Placements:
    """Where members stand; `brief` without what the ledger counted of them.

    While the ledger cannot be had, a brief answer about members who were all evaluated before is
    where they stand themselves, wherever their points are. Refusals: PROGRAM_NOT_FOUND.
    """
    asked = list(dict.fromkeys(members))
    return await persistently(context, lambda: _get(context, program, asked, brief=brief))


async def _get(
    context: TiersContext, program: Program, asked: Sequence[str], *, brief: bool
) -> Placements:
    ladder, standings = await load(context, program, asked)
    # The ledger alone knows in whose account a member's numbers are.
    windows = () if brief else ladder.windows()
    try:
        read = await context.ledger.accounts(program.id, asked, windows)
    except DependencyUnavailable:
        if not brief or not all(member in standings for member in asked):
            raise
        return Placements([Placement(each, ladder, standings[each]) for each in asked], ())
    standings |= await _held(context, program, ladder, read.values())
    return _placements(asked, ladder, standings, read)


async def evaluate_member(context: TiersContext, program: Program, member: str) -> Placement:
    """Evaluate a member now. Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    placements = await evaluate_members(context, program, [member])
    if not placements.found:
        raise MemberNotFound(member)
    return placements.found[0]


async def evaluate_members(
    context: TiersContext, program: Program, members: Sequence[str]
) -> Placements:
    """Evaluate members now, in one transaction. Refusals: PROGRAM_NOT_FOUND."""
    asked = list(dict.fromkeys(members))
    return await persistently(context, lambda: _evaluate(context, program, asked))


async def _evaluate(context: TiersContext, program: Program, members: Sequence[str]) -> Placements:
    asked = context.clock()
    ladder, standings = await load(context, program, members)
    read = await context.ledger.accounts(program.id, members, ladder.windows())
    standings |= await _held(context, program, ladder, read.values())
    if ladder.stored:
        evaluations = {
            _key(context, program, ladder, each.holder or member): Evaluation(
                ladder, standings.get(each.holder or member), (each,)
            )
            for member, each in read.items()
        }
        moving = {key: each for key, each in evaluations.items() if each.changes_something()}
        if moving:
            async with writing(context.writes) as connection:
                settled = await settle(context, connection, moving, asked)
            context.bell.ring()
            standings |= {key.member: standing for key, standing in settled.items()}
    return _placements(members, ladder, standings, read)


async def load(
    context: TiersContext, program: Program, members: Sequence[str]
) -> tuple[Ladder, dict[str, Standing]]:
    """The program's ladder as it is now, and the stored standings of members on it."""
    places = [(context.bucket(program.organization, member), member) for member in members]
    async with reading(context.reads) as connection:
        version, standings = await memberships.read(connection, program, places)
        if version is None:
            return IMPLICIT, {}
        return await context.ladders.get(connection, program, version), standings


async def _held(
    context: TiersContext, program: Program, ladder: Ladder, read: Iterable[Reading]
) -> dict[str, Standing]:
    """The standings of those in whose accounts members' numbers are. Raises LadderMoved."""
    holders = sorted({each.holder for each in read if each.holder})
    if not holders:
        return {}
    again, standings = await load(context, program, holders)
    if (again.id, again.version) != (ladder.id, ladder.version):
        raise LadderMoved
    return standings


def _key(context: TiersContext, program: Program, ladder: Ladder, member: str) -> Key:
    bucket = context.bucket(program.organization, member)
    return Key(bucket, program.organization, program.id, ladder.id, member)


def _placements(
    members: Sequence[str],
    ladder: Ladder,
    standings: Mapping[str, Standing],
    read: Mapping[str, Reading],
) -> Placements:
    found, missing = [], []
    for member in members:
        each = read.get(member)
        if each is None:
            missing.append(member)
            continue
        standing = standings.get(each.holder or member)
        found.append(Placement(member, ladder, stands(ladder, standing, each), each))
    return Placements(found, missing)

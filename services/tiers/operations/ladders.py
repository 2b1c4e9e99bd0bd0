"""Ladders: made, changed, read. Every change is a new version; old ones stay as they are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chassis.database import Connection
from kernel.refusals import LimitReached
from services.tiers.domain.ladder import IMPLICIT, Ladder
from services.tiers.domain.refusals import LadderExists, LadderNotFound, TierInUse
from services.tiers.domain.rules import (
    LADDERS_MAX,
    changed,
    check_counters,
    check_etag,
    check_ladder,
    taken_out,
)
from services.tiers.operations.context import Caller, TiersContext
from services.tiers.store import changes, ladders, memberships
from services.tiers.store.changes import Fact
from services.tiers.store.connections import reading, writing
from services.tiers.store.ladders import InForce, Program


@dataclass(frozen=True, slots=True)
class LadderUpdate:
    """What is asked for: the fields that are given, by name, and which of them to change."""

    given: Mapping[str, Any]
    mask: Collection[str]
    etag: str


async def create_ladder(
    context: TiersContext, caller: Caller, program: str, asked: Ladder
) -> Ladder:
    """Give a program its ladder; where it was given the same one, answer that as it is now.

    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND, LADDER_EXISTS, COUNTER_NOT_FOUND, LIMIT_REACHED.
    """
    check_ladder(asked, "ladder")
    known = await context.ledger.counters(program)
    owner = Program(caller.organization, program)
    first = replace(asked, version=1)
    stored = await _stored(context, owner)
    if stored is None:
        check_counters(asked, known)
        async with writing(context.writes) as connection:
            made = await ladders.insert_ladder(connection, owner, asked.id)
            if made:
                await _put_in_force(context, connection, owner, first, caller.actor)
        if made:
            context.bell.ring()
            return first
        stored = await _stored(context, owner)
        assert stored is not None
    if stored.id != asked.id:
        check_counters(asked, known)
        raise LimitReached("ladders", LADDERS_MAX, 1)
    async with reading(context.reads) as connection:
        created = await context.ladders.get(connection, owner, InForce(asked.id, 1))
    if created != first:
        raise LadderExists(asked.id)
    return stored


async def update_ladder(
    context: TiersContext, caller: Caller, program: str, ladder: str, update: LadderUpdate
) -> Ladder:
    """Put a new version of a ladder in force; what equals the one in force changes nothing.

    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND, LADDER_NOT_FOUND, ETAG_STALE, COUNTER_NOT_FOUND,
    TIER_IN_USE.
    """
    known = await context.ledger.counters(program)
    owner = Program(caller.organization, program)
    async with writing(context.writes) as connection:
        version = await ladders.lock_version(connection, owner, ladder)
        if version is None:
            raise LadderNotFound(ladder)
        before = await context.ladders.get(connection, owner, InForce(ladder, version))
        check_etag(update.etag, before)
        after = changed(before, update.given, update.mask)
        check_ladder(after, "changes")
        check_counters(after, known)
        if after == before:
            return before
        in_use = await memberships.occupied(connection, owner, ladder, taken_out(before, after))
        if in_use is not None:
            raise TierInUse(in_use)
        after = replace(after, version=version + 1)
        await _put_in_force(context, connection, owner, after, caller.actor)
    context.bell.ring()
    return after


async def get_ladder(context: TiersContext, program: Program, ladder: str) -> Ladder:
    """A ladder as it is now. Refusals: PROGRAM_NOT_FOUND, LADDER_NOT_FOUND."""
    found = await ladder_of(context, program)
    if found.id != ladder:
        raise LadderNotFound(ladder)
    return found


async def ladder_of(context: TiersContext, program: Program) -> Ladder:
    """The program's ladder, the implicit one where it was given none. PROGRAM_NOT_FOUND."""
    stored = await _stored(context, program)
    if stored is None:
        # Only the ledger knows whether there is such a program.
        await context.ledger.clock(program.id)
        return IMPLICIT
    return stored


async def _stored(context: TiersContext, program: Program) -> Ladder | None:
    async with reading(context.reads) as connection:
        version = (await ladders.in_force(connection, [program])).get(program)
        if version is None:
            return None
        return await context.ladders.get(connection, program, version)


async def _put_in_force(
    context: TiersContext, connection: Connection, program: Program, ladder: Ladder, actor: str
) -> None:
    now = context.clock()
    await ladders.insert_version(connection, program, ladder, actor, now)
    bucket = context.bucket(program.organization, program.id)
    fact = Fact(bucket, program, InForce(ladder.id, ladder.version))
    await changes.publish(connection, [fact], now)

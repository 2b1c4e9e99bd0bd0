"""Audiences: making, reading, changing and deleting them, and trying criteria out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import CurrencyNotFound, LimitReached
from services.audience.domain.audience import (
    AUDIENCES_MAX,
    Audience,
    Definition,
    changed,
    check_etag,
    check_overlap,
)
from services.audience.domain.criteria import Criterion, Field, check_criteria
from services.audience.domain.refusals import AudienceExists, AudienceNotFound
from services.audience.operations.context import AudienceContext, Caller, Freshness
from services.audience.store import audiences, matching, programs
from services.audience.store.programs import ProgramRow

PREVIEW_MEMBERS = 20


@dataclass(frozen=True, slots=True)
class Sized:
    """An audience and how many members belong to it."""

    audience: Audience
    size: int


@dataclass(frozen=True, slots=True)
class Preview:
    """How many members meet criteria, some of them, and how current that is."""

    size: int
    members: Sequence[str]
    freshness: Freshness | None


@dataclass(frozen=True, slots=True)
class Update:
    """What is asked for: the fields that are given, which of them to change, and what was read."""

    given: Mapping[str, Any]
    mask: Collection[str]
    etag: str


async def create_audience(
    context: AudienceContext, caller: Caller, program: str, audience: str, definition: Definition
) -> Sized:
    """Create an audience, or answer the equal one that exists.

    The program's row is locked, so that of two audiences whose ranges overlap one is refused.
    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND, AUDIENCE_EXISTS, CURRENCY_NOT_FOUND,
    RANGES_OVERLAP, LIMIT_REACHED.
    """
    resolved, unknown = await _resolved(context, caller, program, definition, "audience.criteria")
    async with (
        context.pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(),
    ):
        row = await programs.lock(connection, caller.organization, program)
        existing = await audiences.load(connection, row.key)
        created = _find(existing, audience)
        if created is not None and created.definition != resolved:
            raise AudienceExists(audience)
        if created is None:
            _check_known(unknown)
            check_overlap(audience, resolved, existing)
            if len(existing) >= AUDIENCES_MAX:
                raise LimitReached("audiences", AUDIENCES_MAX, len(existing))
            created = Audience(audience, resolved, await programs.bump(connection, row.key))
            await audiences.save(connection, row.key, created)
    return await _sized(context, row, created)


async def get_audience(
    context: AudienceContext, caller: Caller, program: str, audience: str
) -> Sized:
    """One audience with its size. PROGRAM_NOT_FOUND, AUDIENCE_NOT_FOUND."""
    row, found = await list_audiences(context, caller, program)
    wanted = _find(found, audience)
    if wanted is None or row is None:
        raise AudienceNotFound(audience)
    return await _sized(context, row, wanted)


async def list_audiences(
    context: AudienceContext, caller: Caller, program: str
) -> tuple[ProgramRow | None, tuple[Audience, ...]]:
    """A program's audiences by id; no row where nothing was heard of it. PROGRAM_NOT_FOUND."""
    async with context.pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        row = await programs.find(connection, caller.organization, program)
        if row is not None:
            return row, await context.catalogue.audiences(connection, row)
    await context.require_program(caller.organization, program)
    return None, ()


async def update_audience(
    context: AudienceContext, caller: Caller, program: str, audience: str, update: Update
) -> Sized:
    """Change an audience; what is given as it is changes nothing.

    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND, AUDIENCE_NOT_FOUND, ETAG_STALE,
    CURRENCY_NOT_FOUND, RANGES_OVERLAP.
    """
    before = await get_audience(context, caller, program, audience)
    check_etag(update.etag, before.audience)
    wanted = changed(before.audience.definition, update.given, update.mask)
    resolved, unknown = await _resolved(context, caller, program, wanted, "changes.criteria")
    _check_known(unknown)
    async with (
        context.pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(),
    ):
        row = await programs.lock(connection, caller.organization, program)
        existing = await audiences.load(connection, row.key)
        current = _find(existing, audience)
        if current is None:
            raise AudienceNotFound(audience)
        check_etag(update.etag, current)
        # What somebody else changed meanwhile stays, unless this update names it.
        given = {**update.given, "criteria": resolved.criteria}
        chosen = set(update.mask) or set(update.given)
        after = changed(current.definition, given, chosen) if chosen else current.definition
        check_overlap(audience, after, existing)
        if after != current.definition:
            version = await programs.bump(connection, row.key)
            current = replace(current, definition=after, version=version)
            await audiences.save(connection, row.key, current)
    return await _sized(context, row, current)


async def delete_audience(
    context: AudienceContext, caller: Caller, program: str, audience: str, etag: str
) -> None:
    """Delete an audience. PROGRAM_NOT_FOUND, AUDIENCE_NOT_FOUND, ETAG_STALE."""
    row, _ = await list_audiences(context, caller, program)
    if row is None:
        raise AudienceNotFound(audience)
    async with (
        context.pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(),
    ):
        row = await programs.lock(connection, caller.organization, program)
        current = _find(await audiences.load(connection, row.key), audience)
        if current is None:
            raise AudienceNotFound(audience)
        check_etag(etag, current)
        await programs.bump(connection, row.key)
        await audiences.delete(connection, row.key, audience)


async def preview_audience(
    context: AudienceContext, caller: Caller, program: str, criteria: tuple[Criterion, ...]
) -> Preview:
    """Who would belong; nothing is written.

    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND, CURRENCY_NOT_FOUND.
    """
    definition, unknown = await _resolved(
        context, caller, program, Definition("", criteria, ""), "criteria"
    )
    _check_known(unknown)
    freshness = context.freshness()
    async with (
        context.pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        # Size and members are of one instant.
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        row = await programs.find(connection, caller.organization, program)
        if row is None:
            return Preview(0, (), freshness)
        size = await matching.count(connection, row, definition.criteria)
        members = await matching.page(connection, row, definition.criteria, "", PREVIEW_MEMBERS)
    return Preview(size, members, freshness)


async def _sized(context: AudienceContext, row: ProgramRow, audience: Audience) -> Sized:
    async with context.pools.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        size = await matching.count(connection, row, audience.definition.criteria)
    return Sized(audience, size)


def _find(existing: Sequence[Audience], audience: str) -> Audience | None:
    return next((each for each in existing if each.id == audience), None)


def _check_known(unknown: str) -> None:
    if unknown:
        raise CurrencyNotFound(unknown)


async def _resolved(
    context: AudienceContext, caller: Caller, program: str, definition: Definition, field: str
) -> tuple[Definition, str]:
    """The definition with every currency named, and one that the program does not have, if any.

    Refusals: INVALID_FIELD, PROGRAM_NOT_FOUND.
    """
    check_criteria(definition.criteria, field)
    facts = await context.ledger.program(caller.organization, program)
    criteria = tuple(
        each
        if each.field is Field.TIER or each.currency
        else replace(each, currency=facts.currency)
        for each in definition.criteria
    )
    # Once more: a currency that was left out may be one that was named, too.
    check_criteria(criteria, field)
    unknown: set[str] = {each.currency for each in criteria if each.currency} - {facts.currency}
    if unknown:
        unknown -= await context.ledger.currencies(caller.organization, program)
    return replace(definition, criteria=criteria), min(unknown, default="")

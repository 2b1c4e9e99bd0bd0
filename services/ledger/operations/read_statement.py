"""Reading a member's statement: every change between two record times, and both balances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from services.ledger.domain.policy import Policy
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.sight import (
    Member,
    Query,
    Sight,
    read_for,
    seen_entries,
    sight_of,
    stretch_of,
)
from services.ledger.store import statements
from services.ledger.store.history import StoredEntry, Stretch
from services.ledger.store.statements import Four

_NOTHING: Four = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a statement goes on: behind the line `beyond`, and whatever its first page told of.

    `last` is the last entry that there was when the first page was answered.
    """

    beyond: int
    last: int


@dataclass(frozen=True, slots=True)
class Line:
    """An entry, and what entries that are not listed changed since the line before it."""

    stored: StoredEntry
    unlisted: int


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Lines, where to go on (None at the end), and balances by currency: opening and closing.

    `policies` are the configurations in force by revision, of all postings on the page.
    """

    lines: Sequence[Line]
    place: Place | None
    balances: Mapping[int, tuple[Four, Four]]
    policy: Policy
    policies: Mapping[int, Policy]


async def page_of_statement(
    context: LedgerContext, member: Member, query: Query, place: Place | None, size: int
) -> StatementPage:
    """A page of a statement, which goes on at a place.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, CURRENCY_NOT_FOUND, PERMISSION_MISSING,
    GROUP_NOT_FOUND.
    """
    read = await read_for(context, member)
    view, policy = read.view, read.policy
    number = policy.currency(query.currency).number if query.currency else None
    sight = await sight_of(context, member, view, query.attributed_member)
    currencies = range(len(policy.currencies)) if number is None else [number]
    key = view.key
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        last = view.sequence if place is None else max(0, min(place.last, view.sequence))
        whole = await stretch_of(connection, query, key, last, number)
        # Of a currency that it never had the whole history would be searched.
        had = [each for each in currencies if each in view.balances]
        opening = await statements.balances_after(connection, key, whole.after, had)
        closing = await statements.balances_after(connection, key, whole.until, had)
        found = await seen_entries(connection, _beyond(whole, place), sight, size + 1)
        lines = await _lines(connection, whole, sight, found[:size], opening)
    revisions = {each.stored.posting.revision for each in lines}
    return StatementPage(
        lines=lines,
        place=Place(lines[-1].stored.entry.sequence, last) if len(found) > size else None,
        balances={
            each: (opening.get(each, _NOTHING), closing.get(each, _NOTHING))
            for each in currencies
            if each in closing or each == number
        },
        policy=policy,
        policies={
            revision: await context.environment.policy(view.program, revision)
            for revision in sorted(revisions)
        },
    )


def _beyond(whole: Stretch, place: Place | None) -> Stretch:
    if place is None:
        return whole
    if whole.newest_first:
        return replace(whole, until=min(whole.until, place.beyond - 1))
    return replace(whole, after=max(whole.after, place.beyond))


async def _lines(
    connection: Connection,
    whole: Stretch,
    sight: Sight,
    entries: Sequence[StoredEntry],
    opening: Mapping[int, Four],
) -> list[Line]:
    """Lines in the same order, each explained by the line of its currency before it."""
    if sight.doers is None and whole.kinds is None:
        return [Line(each, 0) for each in entries]
    before: dict[int, int] = {}
    unlisted: dict[int, int] = {}
    for stored in sorted(entries, key=lambda each: each.entry.sequence):
        entry = stored.entry
        if entry.currency is None:
            continue
        if entry.currency not in before:
            stretch = replace(
                whole, until=entry.sequence - 1, currency=entry.currency, newest_first=True
            )
            known = await seen_entries(connection, stretch, sight, 1)
            four = known[0].entry.after if known else opening.get(entry.currency, _NOTHING)
            before[entry.currency] = _net(four)
        after = _net(entry.after)
        unlisted[entry.sequence] = after - entry.points - before[entry.currency]
        before[entry.currency] = after
    return [Line(each, unlisted.get(each.entry.sequence, 0)) for each in entries]


def _net(four: Four) -> int:
    available, pending, held, debt = four
    return available + pending + held - debt

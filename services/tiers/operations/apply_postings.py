"""Evaluating the members whose numbers moved in the ledger, exactly once each.

The cursors of what was read are stored in the transaction that writes what it changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from kernel.calendar import Period
from services.tiers.domain.ladder import Ladder
from services.tiers.domain.membership import Reading, Standing
from services.tiers.operations.context import TiersContext
from services.tiers.operations.settle import Evaluation, persistently, settle
from services.tiers.store import followed, ladders, memberships
from services.tiers.store.connections import reading, writing
from services.tiers.store.ladders import Program
from services.tiers.store.memberships import Key

STREAM = "ledger"
QUARTER_SECONDS = 900
READ_MAX = 500
"""How many accounts are read at once; one program's members of one piece may be more."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A posting that enrolled a member or moved counters. `time` is by the program's clock.

    `version` is the account's after it.
    """

    program: Program
    member: str
    time: datetime
    enrolled: bool
    counters: frozenset[str]
    version: int


async def load_cursors(context: TiersContext) -> dict[int, int]:
    """How far the ledger was followed."""
    async with reading(context.reads) as connection:
        return await followed.read_cursors(connection, STREAM)


async def apply_postings(
    context: TiersContext,
    touches: Sequence[Touch],
    before: Mapping[int, int],
    moved: Mapping[int, int],
) -> None:
    """Evaluate whom the touches concern, and move the ledger's cursors on from `before`.

    Raises CursorsMoved where another process did, and refuses as the ledger does.
    """
    await persistently(context, lambda: _apply(context, touches, before, moved))


async def _apply(
    context: TiersContext,
    touches: Sequence[Touch],
    before: Mapping[int, int],
    moved: Mapping[int, int],
) -> None:
    asked = context.clock()
    evaluations = await _evaluations(context, touches) if touches else {}
    moving = {key: each for key, each in evaluations.items() if each.changes_something()}
    async with writing(context.writes) as connection:
        await followed.move_cursors(connection, STREAM, before, moved)
        await settle(context, connection, moving, asked)
    if moving:
        context.bell.ring()


async def _evaluations(context: TiersContext, touches: Sequence[Touch]) -> dict[Key, Evaluation]:
    concerned, standings = await _concerned(context, touches)
    readings: dict[Key, list[Reading]] = {}
    for ladder, some in concerned:
        for key, read in await _read(context, ladder, some):
            readings.setdefault(key, []).append(read)
    by_program = {
        (each.program, ladder.id): ladder for ladder, some in concerned for _, each in some
    }
    return {
        key: Evaluation(
            by_program[Program(key.organization, key.program), key.ladder],
            standings.get(key),
            sorted(some, key=lambda each: each.time),
        )
        for key, some in readings.items()
    }


_Concerned = tuple[Ladder, Sequence[tuple[Key, Touch]]]


async def _concerned(
    context: TiersContext, touches: Sequence[Touch]
) -> tuple[list[_Concerned], dict[Key, Standing]]:
    """The touches that can change something, by ladder, and where those members stand."""
    concerned: list[_Concerned] = []
    async with reading(context.reads) as connection:
        found = await ladders.in_force(connection, sorted({each.program for each in touches}))
        of_program: dict[Program, list[Touch]] = {program: [] for program in found}
        for touch in touches:
            if touch.program in of_program:
                of_program[touch.program].append(touch)
        keys: set[Key] = set()
        for program, version in sorted(found.items()):
            ladder = await context.ladders.get(connection, program, version)
            counted = {window.counter for window in ladder.windows()}
            some = [
                (_key(context, touch, ladder), touch)
                for touch in of_program[program]
                if touch.enrolled or touch.counters & counted
            ]
            keys.update(key for key, _ in some)
            concerned.append((ladder, some))
        standings = await memberships.read_keys(connection, sorted(keys)) if keys else {}
    # Nobody rises from the top, whatever the ledger says.
    return [
        (
            ladder,
            [
                (key, touch)
                for key, touch in some
                if key not in standings or standings[key].tier != ladder.tiers[-1].id
            ],
        )
        for ladder, some in concerned
    ], standings


async def _read(
    context: TiersContext, ladder: Ladder, touches: Sequence[tuple[Key, Touch]]
) -> list[tuple[Key, Reading]]:
    """What the ledger says of members at the times of their postings."""
    read: list[tuple[Key, Reading]] = []
    windows = ladder.windows()
    for at, some in _by_time(ladder, touches):
        latest = dict(some)
        program = next(iter(latest.values())).program
        members = [key.member for key in latest]
        accounts: dict[str, Reading] = {}
        for start in range(0, len(members), READ_MAX):
            accounts |= await context.ledger.accounts(
                program.id,
                members[start : start + READ_MAX],
                windows,
                time=at,
                credential=context.credentials.acting_for(program.organization),
            )
        read += [
            (key, _as_of(touch, ladder, accounts[key.member]))
            for key, touch in latest.items()
            if key.member in accounts
        ]
    return read


def _as_of(touch: Touch, ladder: Ladder, found: Reading) -> Reading:
    """A reading as of a posting.

    Lifetime numbers may have a later posting in them already, and a rise that rests on that one
    does not count from before it: then the reading's own time is the one that is known.
    """
    moved_on = found.version > touch.version
    if moved_on and any(window.period is Period.LIFETIME for window in ladder.windows()):
        return found
    return replace(found, time=touch.time)


def _by_time(
    ladder: Ladder, touches: Sequence[tuple[Key, Touch]]
) -> Iterable[tuple[datetime | None, Sequence[tuple[Key, Touch]]]]:
    """Touches of one local day together, whatever the program's zone, in the order of time.

    A window that moves with time is read as of the posting, not as of now: who follows late decides
    the same. Local days begin at a whole quarter of an hour everywhere.
    """
    ordered = sorted(touches, key=lambda each: each[1].time)
    if all(window.period is Period.LIFETIME for window in ladder.windows()):
        return [(None, ordered)] if ordered else []
    groups = groupby(ordered, key=lambda each: each[1].time.timestamp() // QUARTER_SECONDS)
    listed = (list(some) for _, some in groups)
    return [(some[-1][1].time, some) for some in listed]


def _key(context: TiersContext, touch: Touch, ladder: Ladder) -> Key:
    organization, program = touch.program
    bucket = context.bucket(organization, touch.member)
    return Key(bucket, organization, program, ladder.id, touch.member)

"""Applying commands: one, or many at once, for real or as if."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import Refusal
from services.ledger.domain.account import Posting
from services.ledger.domain.commands import Command
from services.ledger.domain.policy import Policy
from services.ledger.operations.claims import Outrun
from services.ledger.operations.late import refused_for_lateness
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import (
    AccountView,
    Applied,
    Broken,
    Item,
    Outcome,
    Recorded,
    Refused,
)
from services.ledger.operations.read_account import read_views, with_group
from services.ledger.operations.transaction import Transaction
from services.ledger.store import history
from services.ledger.store.history import StoredPosting


@dataclass(frozen=True, slots=True)
class Written:
    """What a command came to. `policy` is the one of the posting's revision.

    `sides` are the postings of other accounts that belong together with it.
    """

    posting: Posting
    replayed: bool
    policy: Policy
    view: AccountView | None
    sides: "tuple[Side, ...]" = ()


@dataclass(frozen=True, slots=True)
class Side:
    """The posting of another account; `program` is the key of its program."""

    posting: Posting
    policy: Policy
    program: int


async def post(
    context: LedgerContext, command: Command, *, validate_only: bool, deadline: float | None
) -> Written:
    """Apply one command and answer with the account after it. Refusals are raised."""
    result = (
        await _post(context, [command], view=True, validate_only=validate_only, deadline=deadline)
    )[0]
    if isinstance(result, Refusal):
        raise result
    return result


async def batch_post(
    context: LedgerContext,
    commands: Sequence[Command],
    *,
    validate_only: bool,
    deadline: float | None,
) -> list[Written | Refusal]:
    """Apply commands, each by itself; those of one member in order."""
    return await _post(
        context, commands, view=False, validate_only=validate_only, deadline=deadline
    )


async def apply(
    context: LedgerContext, item: Item, *, validate_only: bool, deadline: float | None
) -> Written:
    """Apply one item's command. Refusals are raised."""
    result = (await _write(context, [item], validate_only=validate_only, deadline=deadline))[0]
    if isinstance(result, Refusal):
        raise result
    return result


async def _post(
    context: LedgerContext,
    commands: Sequence[Command],
    *,
    view: bool,
    validate_only: bool,
    deadline: float | None,
) -> list[Written | Refusal]:
    first = commands[0]
    identity = await context.environment.cache.identity(first.organization, first.program)
    name = context.environment.name
    items = [
        Item(
            command=command,
            name=name(command.organization, command.member, identity.key),
            view=view,
            stay=command.stays(),
        )
        for command in commands
    ]
    refused = await refused_for_lateness(context, items, sandbox=identity.sandbox)
    if not refused:
        return await _write(context, items, validate_only=validate_only, deadline=deadline)
    others = [item for place, item in enumerate(items) if place not in refused]
    written = iter(
        await _write(context, others, validate_only=validate_only, deadline=deadline)
        if others
        else ()
    )
    return [refused[place] if place in refused else next(written) for place in range(len(items))]


async def _write(
    context: LedgerContext, items: Sequence[Item], *, validate_only: bool, deadline: float | None
) -> list[Written | Refusal]:
    if validate_only:
        outcomes = await _as_if(context, items)
    else:
        outcomes = await context.lanes.submit(items, deadline)
    recorded = await _recorded(context, items, outcomes)
    results: list[Written | Refusal] = []
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            results.append(outcome.refusal)
        elif isinstance(outcome, Applied):
            posting = outcome.posting
            policy = await context.environment.policy(outcome.program, posting.revision)
            sides = await _sides(context, outcome.sides) if outcome.sides else ()
            view = outcome.view
            if view is not None and view.group_key and not view.group:
                view = await with_group(context, view)
            results.append(Written(posting, outcome.replayed, policy, view, sides))
        elif isinstance(outcome, Recorded):
            results.append(recorded[outcome])
        else:
            assert isinstance(outcome, Broken)
            raise outcome.fault
    return results


async def _sides(
    context: LedgerContext, postings: Sequence[tuple[Posting, int]]
) -> tuple[Side, ...]:
    policy = context.environment.policy
    return tuple(
        [
            Side(posting, await policy(program, posting.revision), program)
            for posting, program in postings
        ]
    )


async def _as_if(context: LedgerContext, items: Sequence[Item]) -> list[Outcome]:
    while True:
        async with (
            context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            try:
                return await Transaction(context.environment, connection, items, dry=True).run()
            except Outrun:
                # What was remembered of somebody erased is forgotten now.
                continue


async def _recorded(
    context: LedgerContext, items: Sequence[Item], outcomes: Sequence[Outcome]
) -> dict[Recorded, Written]:
    replays = {outcome for outcome in outcomes if isinstance(outcome, Recorded)}
    if not replays:
        return {}
    sides: dict[tuple[int, int], list[StoredPosting]] = {}
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        places = sorted({replay.place for replay in replays})
        stored = await history.read_postings(connection, places)
        if any(item.plan is not None for item in items):
            sides = await history.read_sides(connection, places)
    view = items[0].view
    views = await read_views(context, [replay.key for replay in replays]) if view else {}
    results = {}
    for replay in replays:
        found = stored[replay.place]
        policy = await context.environment.policy(found.program, found.posting.revision)
        others = [(side.posting, side.program) for side in sides.get(replay.place, ())]
        results[replay] = Written(
            found.posting,
            replay.replayed,
            policy,
            _whose(views.get(replay.key), replay.member),
            await _sides(context, others),
        )
    return results


def _whose(view: AccountView | None, member: str) -> AccountView | None:
    return None if view is None else replace(view, member=member)

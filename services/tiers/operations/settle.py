"""Moving members to the tiers that they reached: the only way in which a standing is written."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from chassis.database import Connection
from services.tiers.domain.ladder import Ladder
from services.tiers.domain.membership import Move, Reading, Standing, evaluate
from services.tiers.operations.context import TiersContext
from services.tiers.store import changes, erasures, ladders, memberships
from services.tiers.store.changes import Fact
from services.tiers.store.connections import PASSING
from services.tiers.store.ladders import InForce, Program
from services.tiers.store.memberships import Key, Placed

ATTEMPTS_MAX = 5
PAUSE_S = 0.01

_Result = TypeVar("_Result")


class LadderMoved(Exception):
    """Another version of a ladder came into force since it was read."""


class MemberErased(Exception):
    """Somebody was erased since the ledger was asked: what it said is about nobody."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A member to evaluate by readings in the order of time, and the standing last seen."""

    ladder: Ladder
    standing: Standing | None
    readings: Sequence[Reading]

    def moves(self, standing: Standing | None) -> list[Move]:
        """What the readings change about a standing."""
        moves: list[Move] = []
        for reading in self.readings:
            some = evaluate(self.ladder, standing, reading)
            if some:
                standing = Standing(some[-1].to_tier, some[-1].effective_time)
                moves += some
        return moves

    def changes_something(self) -> bool:
        """Whether there is anything to write. Standings only rise, so that an old one suffices."""
        return bool(self.moves(self.standing))


async def settle(
    context: TiersContext,
    connection: Connection,
    evaluations: Mapping[Key, Evaluation],
    asked: datetime,
) -> dict[Key, Standing]:
    """Write and publish what evaluations change; answers where those members stand then.

    `asked` is when the ledger began to be asked about them, at the latest.
    Ladders are locked before members, members before heads, each in order. Raises LadderMoved where
    a ladder is not the one of the evaluations any more, MemberErased where a member is not.
    `context.bell` is the caller's to ring, after the commit.
    """
    if not evaluations:
        return {}
    await _keep_ladders(connection, evaluations)
    moved: dict[Key, list[Move]] = {}
    fresh = {key: each.moves(None) for key, each in evaluations.items() if each.standing is None}
    if fresh:
        first = {key: _placed(moves) for key, moves in fresh.items()}
        inserted = await memberships.insert(connection, first)
        moved = {key: moves for key, moves in fresh.items() if key in inserted}
    others = [key for key in evaluations if key not in moved]
    standings = await memberships.lock(connection, others) if others else {}
    risen = {
        key: moves
        for key, standing in standings.items()
        if (moves := evaluations[key].moves(standing))
    }
    if risen:
        await memberships.update(connection, {key: _placed(moves) for key, moves in risen.items()})
    moved |= risen
    facts = [_fact(key, move) for key in sorted(moved) for move in moved[key]]
    await changes.publish(connection, facts, context.clock())
    # With the heads locked: who is erased from here on is so after this.
    first_of_all = [key for key in moved if key in fresh]
    if first_of_all and await erasures.any_since(connection, first_of_all, asked):
        raise MemberErased
    return standings | {key: _placed(moves).standing for key, moves in moved.items()}


async def _keep_ladders(connection: Connection, evaluations: Mapping[Key, Evaluation]) -> None:
    wanted = {
        Program(key.organization, key.program): InForce(each.ladder.id, each.ladder.version)
        for key, each in evaluations.items()
    }
    if await ladders.in_force(connection, sorted(wanted), share=True) != wanted:
        raise LadderMoved


def _placed(moves: Sequence[Move]) -> Placed:
    last = moves[-1]
    return Placed(Standing(last.to_tier, last.effective_time), last.ladder_version)


def _fact(key: Key, move: Move) -> Fact:
    program = Program(key.organization, key.program)
    return Fact(key.bucket, program, InForce(key.ladder, move.ladder_version), key.member, move)


async def persistently(context: TiersContext, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
    """Do something that may be done twice, again where a neighbour came in between."""
    for number in range(ATTEMPTS_MAX):
        try:
            return await attempt()
        except (LadderMoved, MemberErased, *PASSING):
            if number == ATTEMPTS_MAX - 1:
                raise
        await asyncio.sleep(PAUSE_S * 2**number * (0.5 + context.jitter()))
    raise AssertionError

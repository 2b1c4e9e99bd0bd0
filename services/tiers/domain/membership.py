"""Where a member stands, and how that changes: only upwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.tiers.domain.ladder import Ladder, Window, progress


class Cause(IntEnum):
    """Why a membership changed; the numbers of the contract."""

    ENROLLED = 1
    UPGRADED = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """The tier on which a member stands, and since when."""

    tier: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """What the ledger says of a member: the values of the ladder's windows at an instant.

    `version` is that of the account whose numbers these are. `holder` is whose account it is, where
    the member's numbers are in that of another: of a group, or of whom it was merged into.
    """

    enrol_time: datetime
    values: Mapping[Window, int]
    time: datetime
    version: int = 0
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of where a member stands.

    `values` are those of the criteria of `to_tier`, in their order.
    """

    from_tier: str
    to_tier: str
    cause: Cause
    effective_time: datetime
    ladder_version: int
    values: tuple[int, ...] = ()


def evaluate(ladder: Ladder, standing: Standing | None, reading: Reading) -> tuple[Move, ...]:
    """The changes that a reading makes: none, an enrolment, an upgrade, or both in this order.

    Nobody falls: whoever stands higher than the values reach stays. So the evaluations of a member
    may come in any order, and twice, and end the same. A member never stood anywhere before being
    enrolled, and an upgrade never counts from before the tier that it leaves.
    """
    moves: list[Move] = []
    if standing is None:
        base = ladder.base.id
        moves.append(Move("", base, Cause.ENROLLED, reading.enrol_time, ladder.version))
        standing = Standing(base, reading.enrol_time)
    reached = ladder.reached(reading.values)
    if reached > ladder.rank(standing.tier):
        tier = ladder.tiers[reached]
        moves.append(
            Move(
                from_tier=standing.tier,
                to_tier=tier.id,
                cause=Cause.UPGRADED,
                effective_time=max(standing.since, reading.time),
                ladder_version=ladder.version,
                values=tuple(each.value for each in progress(tier, reading.values)),
            )
        )
    return tuple(moves)


def stands(ladder: Ladder, standing: Standing | None, reading: Reading) -> Standing:
    """Where a member stands: without a stored standing on the base, since enrolment."""
    return standing or Standing(ladder.base.id, reading.enrol_time)

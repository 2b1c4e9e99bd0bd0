"""Tiers, as far as rules ask them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import grpc.aio

from chassis.channels import Metadata
from chassis.peers import answer
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from services.rules.domain.evaluate import TierRate

NAME = "tiers"
MEMBERS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a member stands: the rate of its tier, and the whole membership in bytes."""

    tier: TierRate
    membership: bytes


class Tiers:
    """Calls of tiers. Refusals are raised."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._tiers = TierServiceStub(channel)

    async def standings(
        self,
        program: str,
        members: Sequence[str],
        seconds: float,
        metadata: Metadata,
    ) -> dict[str, Standing]:
        """Where members stand; those that are not enrolled are left out."""
        return await self._standings(
            self._tiers.BatchGetMemberships,
            tiers_pb2.BatchGetMembershipsRequest(program=program),
            members,
            seconds,
            metadata,
        )

    async def evaluate(
        self, program: str, members: Sequence[str], seconds: float, metadata: Metadata
    ) -> dict[str, Standing]:
        """Evaluate members and answer where they stand after it."""
        return await self._standings(
            self._tiers.BatchEvaluateMembers,
            tiers_pb2.BatchEvaluateMembersRequest(program=program),
            members,
            seconds,
            metadata,
        )

    async def base(self, program: str, seconds: float, metadata: Metadata) -> TierRate:
        """The tier that a member enters with its first posting."""
        request = tiers_pb2.ListLaddersRequest(program=program, page_size=1)
        found = await answer(self._tiers.ListLadders, request, metadata, NAME, seconds=seconds)
        if not found.ladders:
            return TierRate("member", Fraction(1))
        return _rate(found.ladders[0].tiers[0])

    async def _standings(
        self, method: Any, request: Any, members: Sequence[str], seconds: float, metadata: Metadata
    ) -> dict[str, Standing]:
        """Ask about members in as many calls as it takes; `request` is one without members."""
        found: dict[str, Standing] = {}
        for begin in range(0, len(members), MEMBERS_MAX):
            request.members[:] = members[begin : begin + MEMBERS_MAX]
            some = await answer(method, request, metadata, NAME, seconds=seconds)
            for each in some.memberships:
                found[each.member] = Standing(_rate(each.tier), each.SerializeToString())
        return found


def _rate(tier: tiers_pb2.Tier) -> TierRate:
    return TierRate(tier.tier, Fraction(tier.earning_rate or 1))

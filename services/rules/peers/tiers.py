"""Tiers, as far as rules ask them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import grpc.aio

from chassis.channels import Metadata
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from services.rules.domain.evaluate import TierRate
from services.rules.peers.refusing import refusal_of_error

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

        def ask(some: Sequence[str]) -> Awaitable[Any]:
            request = tiers_pb2.BatchGetMembershipsRequest(program=program, members=some)
            return self._tiers.BatchGetMemberships(request, timeout=seconds, metadata=metadata)

        return await _gathered(ask, members)

    async def evaluate(
        self, program: str, members: Sequence[str], seconds: float, metadata: Metadata
    ) -> dict[str, Standing]:
        """Evaluate members and answer where they stand after it."""

        def ask(some: Sequence[str]) -> Awaitable[Any]:
            request = tiers_pb2.BatchEvaluateMembersRequest(program=program, members=some)
            return self._tiers.BatchEvaluateMembers(request, timeout=seconds, metadata=metadata)

        return await _gathered(ask, members)

    async def base(self, program: str, seconds: float, metadata: Metadata) -> TierRate:
        """The tier that a member enters with its first posting."""
        request = tiers_pb2.ListLaddersRequest(program=program, page_size=1)
        try:
            found = await self._tiers.ListLadders(request, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise refusal_of_error(error, NAME) from error
        if not found.ladders:
            return TierRate("member", Fraction(1))
        return _rate(found.ladders[0].tiers[0])


async def _gathered(
    ask: Callable[[Sequence[str]], Awaitable[Any]], members: Sequence[str]
) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    for begin in range(0, len(members), MEMBERS_MAX):
        try:
            answer = await ask(members[begin : begin + MEMBERS_MAX])
        except grpc.aio.AioRpcError as error:
            raise refusal_of_error(error, NAME) from error
        for each in answer.memberships:
            found[each.member] = Standing(_rate(each.tier), each.SerializeToString())
    return found


def _rate(tier: tiers_pb2.Tier) -> TierRate:
    return TierRate(tier.tier, Fraction(tier.earning_rate or 1))

"""Tiers that a test sets by hand, behind a real aio server: who stands where, and when it fails."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc

from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceServicer, add_TierServiceServicer_to_server

STEPS = ((0, "bronze", "1"), (50_000, "silver", "1.5"), (200_000, "gold", "2"))


@dataclass
class FakeTiers(TierServiceServicer):
    """Members rise by lifetime spend in minor units, as `spent` answers it."""

    spent: Any
    steps: tuple[tuple[int, str, str], ...] = STEPS
    delay: float = 0.0
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    standing: dict[tuple[str, str], int] = field(default_factory=dict)
    _server: Any = None

    async def BatchGetMemberships(self, request: Any, context: Any) -> Any:
        """Where members stood when they were last evaluated."""
        return await self._answer("get", request, evaluate=False)

    async def BatchEvaluateMembers(self, request: Any, context: Any) -> Any:
        """Where members stand by what they have spent."""
        return await self._answer("evaluate", request, evaluate=True)

    async def ListLadders(self, request: Any, context: Any) -> Any:
        """The one ladder."""
        tiers = [tiers_pb2.Tier(tier=name, earning_rate=rate) for _, name, rate in self.steps]
        return tiers_pb2.ListLaddersResponse(
            ladders=[tiers_pb2.Ladder(program=request.program, ladder="main", tiers=tiers)]
        )

    async def start(self, port: int = 0) -> int:
        """Serve on loopback."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_TierServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def _answer(self, name: str, request: Any, *, evaluate: bool) -> Any:
        self.asked.append((name, tuple(request.members)))
        await asyncio.sleep(self.delay)
        spent = await self.spent(request.program, list(request.members))
        answer = tiers_pb2.BatchGetMembershipsResponse()
        for member in request.members:
            if member not in spent:
                answer.missing.append(member)
                continue
            key = (request.program, member)
            step = self.standing.get(key, 0)
            if evaluate:
                reached = [n for n, each in enumerate(self.steps) if spent[member] >= each[0]]
                step = self.standing[key] = max(step, reached[-1])
            _, tier, rate = self.steps[step]
            answer.memberships.add(
                program=request.program,
                member=member,
                ladder="main",
                tier=tiers_pb2.Tier(tier=tier, earning_rate=rate),
            )
        return answer

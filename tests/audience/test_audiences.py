"""Audiences: made, read, changed, deleted; ranges of one group never overlap."""

import asyncio
from typing import Any

import grpc
import pytest

from loyalty.audience.v1 import audience_pb2
from tests.audience.audience_kit import AudienceUnderTest, Criterion, available, points, standing
from tests.ledger.programs_kit import refusal


async def test_a_member_with_enough_points_belongs(suite: AudienceUnderTest) -> None:
    await suite.earn("m1", 100)
    await suite.earn("m2", 99)
    await suite.create("rich", available(100))
    await suite.settled()

    found = await suite.audiences.GetAudience(
        audience_pb2.GetAudienceRequest(program="p1", audience="rich")
    )

    assert found.size == 1
    assert (await suite.check("rich", "m1")).belongs
    assert not (await suite.check("rich", "m2")).belongs
    assert await suite.members("rich") == ["m1"]

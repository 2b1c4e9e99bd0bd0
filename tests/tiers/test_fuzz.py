"""Every method with missing, oversized, hostile and random fields: answered or refused, always."""

import random
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from chassis.refusals import error_info, status_of_error
from services.tiers.rpc.scopes import SCOPES
from testkit.keys import metadata
from tests.fuzz.mutants import garbage, mutants
from tests.tiers.kit import LedgerServer, Tiers, metals
from tests.tiers.test_hostile import GOOD

SEED = 3
MUTANTS_MAX = 60


async def outcome(channel: grpc.aio.Channel, method: str, request: bytes, *, stream: bool) -> str:
    """`OK`, or the reason of the refusal."""
    try:
        opened: Any = channel.unary_stream(method) if stream else channel.unary_unary(method)
        call = opened(request, metadata=metadata(), timeout=5)
        if stream:
            await call.read()
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        info = error_info(status_of_error(error, "tiers"))
        return "nothing said" if info is None else info.reason
    return "OK"


@pytest.mark.parametrize("method", sorted(SCOPES))
async def test_a_hostile_request_is_answered_or_refused_with_a_reason(
    ledger_server: LedgerServer, quiet: Tiers, method: str
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    name = method.rpartition("/")[2]
    valid: Message = GOOD[name]
    dice = random.Random(SEED)
    made = [(what, each.SerializeToString()) for what, each in mutants(valid)]
    requests = dice.sample(made, min(MUTANTS_MAX, len(made)))
    requests += list(garbage(dice, valid.SerializeToString()))[:MUTANTS_MAX]

    async with grpc.aio.insecure_channel(f"127.0.0.1:{quiet.port}") as channel:
        found = {
            what: await outcome(channel, method, request, stream=name == "WatchChanges")
            for what, request in requests
        }
    harmed = {
        what: said
        for what, said in found.items()
        if said in {"FAULT", "nothing said", "DEADLINE_PASSED", "DEPENDENCY_UNAVAILABLE"}
        and not (name == "CatchUp" and said == "DEADLINE_PASSED")
    }

    assert harmed == {}
    assert (await quiet.membership("m1")).member == "m1"

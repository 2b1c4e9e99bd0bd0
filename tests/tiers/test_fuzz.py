"""Every method with missing, oversized, hostile and random fields: answered or refused, always."""

import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from chassis.refusals import error_info, status_of_error
from services.tiers.rpc.scopes import SCOPES
from testkit.keys import metadata
from testkit.postgres import TestPostgres
from tests.fuzz.mutants import garbage, mutants
from tests.tiers.kit import LedgerServer, Tiers, metals, tiers_server
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


@pytest.fixture(scope="module")
async def harassed(postgres: TestPostgres) -> AsyncIterator[Tiers]:
    """Tiers with a ladder and a member; whatever was sent before, they go on."""
    databases = postgres.fresh("ledger"), postgres.fresh("tiers")
    ledger = LedgerServer(databases[0])
    await ledger.start()
    await ledger.create_organization()
    await ledger.create_program()
    async with tiers_server(databases[1], ledger.port, following=False) as served:
        await served.create_ladder(metals())
        await ledger.count("m1", 30_000)
        yield served
    await ledger.stop()
    for database in databases:
        postgres.drop(database.name)


@pytest.mark.parametrize("method", sorted(SCOPES))
async def test_a_hostile_request_is_answered_or_refused_with_a_reason(
    harassed: Tiers, method: str
) -> None:
    name = method.rpartition("/")[2]
    valid: Message = GOOD[name]
    dice = random.Random(SEED)
    made = [(what, each.SerializeToString()) for what, each in mutants(valid)]
    requests = dice.sample(made, min(MUTANTS_MAX, len(made)))
    requests += list(garbage(dice, valid.SerializeToString()))[:MUTANTS_MAX]

    async with grpc.aio.insecure_channel(f"127.0.0.1:{harassed.port}") as channel:
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
    assert (await harassed.membership("m1")).member == "m1"

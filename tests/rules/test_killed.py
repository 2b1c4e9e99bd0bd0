"""Processes of rules are killed while they work; nothing is lost and nothing is doubled."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis.children import start_child
from loyalty.rules.v1 import events_pb2
from loyalty.rules.v1.events_pb2_grpc import EventServiceStub
from testkit import keys
from testkit.servers import authorized_channel
from tests.properties.ledger_process import free_port
from tests.rules.kit import PROGRAM, Suite, purchase

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = 20
EVENTS = 400
BATCH = 20
KILLS = 4


class Process:
    """One process of rules that a test may kill."""

    def __init__(self, served: Suite, folder: Path) -> None:
        self.port = free_port()
        (folder / "jwks.json").write_text(json.dumps(keys.key_pair()[1]))
        environment = {
            **{name: text for name, text in os.environ.items() if "LOYALTY" not in name},
            "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
            "LOYALTY_RULES_PORT": str(self.port),
            "LOYALTY_RULES_DSN": served.database.dsn,
            "LOYALTY_RULES_MIGRATION_DSN": served.database.owner_dsn,
            "LOYALTY_LEDGER_ADDRESS": f"127.0.0.1:{served.ledger.port}",
            "LOYALTY_TIERS_ADDRESS": f"127.0.0.1:{served.tiers_port}",
            "LOYALTY_SERVICE_KEY_PATH": str(served.key_path),
            "LOYALTY_JWKS_PATH": str(folder / "jwks.json"),
            "LOYALTY_ACCESS_LOG_SAMPLE": "0",
            "LOYALTY_RULES_REDRIVE_AFTER_SECONDS": "0.5",
            "LOYALTY_RULES_REDRIVE_EVERY_SECONDS": "0.2",
        }
        self.log = folder / f"rules-{self.port}.log"
        with self.log.open("wb") as output:
            self.process = start_child(
                [sys.executable, "-m", "services.rules"],
                environment=environment,
                output=output,
                directory=ROOT,
            )

    async def ready(self, channel: grpc.aio.Channel) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(40):
            await channel.channel_ready()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()


def batches() -> list[list[events_pb2.Event]]:
    """All events; each is there twice in the end, because whoever gets no answer sends it again."""
    sent = [
        purchase(f"e{n}", f"m{n % MEMBERS}", amount=f"{n % 50}.50", store=f"s{n % 3}")
        for n in range(EVENTS)
    ]
    return [sent[begin : begin + BATCH] for begin in range(0, EVENTS, BATCH)]


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
async def test_rules_are_killed_again_and_again(served: Suite, tmp_path: Path, again: bool) -> None:
    """With `again` the caller sends what was not answered again; else the job must finish it."""
    await served.rules.rule(points="2")
    left = batches()
    chance = random.Random(7)
    process = Process(served, tmp_path)
    channel = authorized_channel(process.port)
    await process.ready(channel)
    kills = 0
    try:
        while left:
            calls = [
                asyncio.ensure_future(submit(channel, batch)) for batch in left[: 3 if again else 1]
            ]
            if kills < KILLS:
                await asyncio.sleep(chance.uniform(0.005, 0.12))
                process.kill()
                kills += 1
            answered = await asyncio.gather(*calls)
            left = [
                batch
                for place, batch in enumerate(left)
                if place >= len(calls) or (again and not answered[place])
            ]
            if process.process.poll() is not None:
                await channel.close()
                process = Process(served, tmp_path)
                channel = authorized_channel(process.port)
                await process.ready(channel)
        await settled(served)
    finally:
        process.kill()
        await channel.close()

    assert kills == KILLS
    done = await served.rows.fetch("SELECT id FROM event WHERE state = 3")
    if again:
        assert len(done) == EVENTS
    expected = expectations({row["id"] for row in done})
    for member, numbers in expected.items():
        assert await served.numbers(member) == numbers
        assert await served.verified(member)


async def submit(channel: Any, batch: list[events_pb2.Event]) -> bool:
    """Whether the batch was answered, all of it done."""
    stub: Any = EventServiceStub(channel)
    try:
        answer = await stub.BatchSubmitEvents(
            events_pb2.BatchSubmitEventsRequest(program=PROGRAM, events=batch, brief=True),
            timeout=10,
        )
    except grpc.aio.AioRpcError:
        return False
    return all(each.HasField("outcome") for each in answer.results)


async def settled(served: Suite) -> None:
    """Wait until the job has finished everything."""
    for _ in range(600):
        if not await served.rows.fetchval("SELECT count(*) FROM event WHERE state < 3"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("some events were never finished")


def expectations(done: set[str]) -> dict[str, tuple[int, int, int]]:
    """Points, spend and visits of the members, computed from what was taken in."""
    found: dict[str, tuple[int, int, int]] = {}
    stores: dict[str, set[str]] = {}
    for batch in batches():
        for each in batch:
            if each.id not in done:
                continue
            points, spend, _ = found.get(each.member, (0, 0, 0))
            minor = round(float(each.amount.amount) * 100)
            stores.setdefault(each.member, set()).add(each.store)
            found[each.member] = (
                points + 2 * minor // 100,
                spend + minor,
                len(stores[each.member]),
            )
    return found

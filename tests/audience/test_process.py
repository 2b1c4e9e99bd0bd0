"""The audience service as a process of its own, killed while it follows."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceStub
from testkit import keys
from testkit.postgres import TestDatabase, TestPostgres
from testkit.servers import authorized_channel
from tests.audience.audience_kit import AudienceUnderTest, available, eventually

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 20.0


@asynccontextmanager
async def process(
    folder: Path, database: TestDatabase, suite: AudienceUnderTest
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m services.audience`; killed at the end if it still runs."""
    private, public = keys.key_pair()
    (folder / "signing.json").write_text(json.dumps(private))
    (folder / "jwks.json").write_text(json.dumps(public))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}",
        "LOYALTY_AUDIENCE_DSN": database.dsn,
        "LOYALTY_AUDIENCE_MIGRATION_DSN": database.owner_dsn,
        "LOYALTY_AUDIENCE_PORT": "0",
        "LOYALTY_LEDGER_ADDRESS": suite.settings.ledger_address,
        "LOYALTY_TIERS_ADDRESS": suite.settings.tiers_address,
        "LOYALTY_JWKS_PATH": str(folder / "jwks.json"),
        "LOYALTY_SERVICE_KEY_PATH": str(folder / "signing.json"),
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.audience",
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def followed(rows: "asyncpg.Connection[asyncpg.Record]") -> int:
    """How many changes of the ledger are applied."""
    applied = await rows.fetchval("SELECT sum(sequence) FROM followed WHERE stream = 'ledger'")
    return int(applied or 0)


@pytest.mark.slow
async def test_a_process_killed_while_it_catches_up_misses_nothing_and_doubles_nothing(
    suite: AudienceUnderTest, postgres: TestPostgres, tmp_path: Path
) -> None:
    database = postgres.fresh("audience")
    dice = random.Random(5)
    moves = [(f"m{dice.randrange(700)}", dice.randrange(1, 50)) for _ in range(4_000)]
    await suite.earn_many(moves)
    for member in sorted({member for member, _ in moves})[:50]:
        suite.tiers.move(member, "gold")
    total = len(moves) + 1
    rows = await asyncpg.connect(database.owner_dsn)
    cut = 0
    for share in (0.05, 0.3, 0.6):
        async with process(tmp_path, database, suite) as child:

            async def part(least: int = int(total * share)) -> bool:
                return await followed(rows) > least

            await eventually(part, 60)
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
        cut += await followed(rows) < total
    async with process(tmp_path, database, suite):

        async def whole() -> bool:
            tiers = await rows.fetchval("SELECT count(*) FROM profile WHERE tier = 'gold'")
            return await followed(rows) == total and tiers == 50

        await eventually(whole, 60)
    stored = await rows.fetch("SELECT member, sequence, amounts, tier FROM profile")
    await rows.close()
    await suite.settled()

    # The follower of the suite was never killed: both know the same.
    assert {row[0]: (row[1], list(row[2]), row[3]) for row in stored} == await suite.profiles()
    await suite.assert_profiles_agree()
    assert cut >= 1, "no kill came before the end"


@pytest.mark.slow
async def test_a_process_serves_and_ends_when_it_is_told(
    suite: AudienceUnderTest, postgres: TestPostgres, tmp_path: Path
) -> None:
    database = postgres.fresh("audience")
    await suite.earn("m1", 5)
    async with process(tmp_path, database, suite) as child:
        port = await port_of(child)
        async with authorized_channel(port) as channel:
            stub: Any = AudienceServiceStub(channel)
            created = await stub.CreateAudience(
                audience_pb2.CreateAudienceRequest(
                    program="p1",
                    audience_id="a",
                    audience=audience_pb2.Audience(criteria=[available(1)]),
                )
            )
            checked = await stub.CheckMembership(
                audience_pb2.CheckMembershipRequest(program="p1", member="m1", audience="a")
            )
        child.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            await child.communicate()

    assert created.audience == "a"
    assert checked.belongs
    assert child.returncode == 0


async def port_of(child: asyncio.subprocess.Process) -> int:
    """The port that a process says it serves on."""
    assert child.stdout is not None
    async with asyncio.timeout(STOP_SECONDS):
        async for line in child.stdout:
            said = json.loads(line)
            if said.get("event") == "serving":
                return int(said["port"])
    raise AssertionError("it ended without serving")

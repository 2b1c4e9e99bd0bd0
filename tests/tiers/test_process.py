"""The tiers as a process of their own: reads its settings, serves, drains, and is killed."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from testkit import keys
from testkit.postgres import ROOT, TestDatabase
from testkit.servers import authorized_channel
from tests.tiers.kit import BUCKETS, LedgerServer, Tiers, eventually, metals


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def process(
    database: TestDatabase, ledger_port: int, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`python -m services.tiers` over a database, serving; killed at the end."""
    private, public = keys.key_pair()
    (folder / "signing.json").write_text(json.dumps(private))
    (folder / "jwks.json").write_text(json.dumps(public))
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "libs"))),
        "LOYALTY_TIERS_DSN": database.dsn,
        "LOYALTY_TIERS_MIGRATION_DSN": database.owner_dsn,
        "LOYALTY_TIERS_PORT": str(port),
        "LOYALTY_TIERS_BUCKETS": str(BUCKETS),
        "LOYALTY_LEDGER_ADDRESS": f"127.0.0.1:{ledger_port}",
        "LOYALTY_SERVICE_KEY_PATH": str(folder / "signing.json"),
        "LOYALTY_JWKS_PATH": str(folder / "jwks.json"),
        "LOYALTY_LOG_LEVEL": "WARNING",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.tiers", env=environment, cwd=ROOT
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            async with asyncio.timeout(60):
                await channel.channel_ready()
        yield started, port
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_a_killed_process_loses_nothing_and_a_stopped_one_drains(
    tiers_database: TestDatabase, ledger_server: LedgerServer, quiet: Tiers, tmp_path: Path
) -> None:
    """`quiet` looks at the same database while the process follows and is killed in between."""
    await quiet.create_ladder(metals())
    members = [f"m{number}" for number in range(60)]

    async def buy(some: list[str]) -> None:
        for member in some:
            await ledger_server.count(member, 30_000)

    async with process(tiers_database, ledger_server.port, tmp_path) as (killed, _):
        buying = asyncio.create_task(buy(members))
        await asyncio.sleep(0.2)
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        await buying
    async with process(tiers_database, ledger_server.port, tmp_path) as (stopped, port):

        async def all_stand() -> bool:
            return {await quiet.stored_tier(member) for member in members} == {"silver"}

        await eventually(all_stand)
        async with authorized_channel(port) as channel:
            stub: Any = TierServiceStub(channel)
            served = await stub.ListLadders(tiers_pb2.ListLaddersRequest(program="p1"))
        stopped.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await stopped.wait()
    changes = await quiet.rows.fetchval("SELECT count(*) FROM change WHERE member IS NOT NULL")

    assert code == 0
    assert [each.ladder for each in served.ladders] == ["status"]
    assert changes == 2 * len(members)

"""Runs the tiers: reads the settings, builds everything, serves until it is told to stop."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from chassis import logs
from chassis.database import ACQUIRE_TIMEOUT_S, Pools, open_pools
from chassis.identity import TokenVerifier
from chassis.migrations import migrate
from chassis.server import Server, build_server
from loyalty.common.v1.clock_pb2_grpc import add_ClockServiceServicer_to_server
from loyalty.tiers.v1.tiers_pb2_grpc import add_TierServiceServicer_to_server
from services.tiers.jobs import follow_ledger
from services.tiers.operations.context import TiersContext
from services.tiers.peers.credentials import Credentials, read_credentials
from services.tiers.peers.ledger import Ledger, open_channel
from services.tiers.rpc.clock import ClockServicer
from services.tiers.rpc.scopes import SCOPES
from services.tiers.rpc.tiers import TierServicer
from services.tiers.settings import TiersSettings, read_settings
from services.tiers.store.buckets import ensure_buckets

MIGRATIONS = Path(__file__).with_name("store") / "migrations"


def build(settings: TiersSettings, context: TiersContext, verifier: TokenVerifier) -> Server:
    """The server of the tiers, not started."""
    return build_server(
        name="tiers",
        servicers=[
            (
                add_TierServiceServicer_to_server,
                TierServicer(context),
                "loyalty.tiers.v1.TierService",
            ),
            (
                add_ClockServiceServicer_to_server,
                ClockServicer(context),
                "loyalty.common.v1.ClockService",
            ),
        ],
        scopes=SCOPES,
        verifier=verifier,
        settings=settings,
        port=settings.tiers_port,
    )


@asynccontextmanager
async def opened(settings: TiersSettings) -> AsyncIterator[Pools]:
    """The database of the tiers, migrated and checked.

    Raises BucketsDiffer where it was created with another number of buckets.
    """
    owner_dsn = settings.tiers_migration_dsn or settings.tiers_dsn
    await asyncio.to_thread(migrate, owner_dsn, MIGRATIONS, settings.tiers_dsn)
    pools = await open_pools(settings.tiers_dsn, settings.tiers_writes, settings.tiers_reads)
    try:
        async with pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            await ensure_buckets(connection, settings.tiers_buckets)
        yield pools
    finally:
        await pools.close()


@asynccontextmanager
async def running(
    settings: TiersSettings, credentials: Credentials | None = None, *, following: bool = True
) -> AsyncIterator[TiersContext]:
    """The tiers without their server: database, ledger and jobs; stopped in order at the end.

    The jobs' credentials are of the key that the settings name where none are given. Without
    `following` another process follows the ledger.
    """
    jobs = credentials or read_credentials(settings.service_key_path)
    async with (
        opened(settings) as pools,
        open_channel(settings.ledger_target(), settings) as channel,
    ):
        context = TiersContext(
            writes=pools.lanes,
            reads=pools.reads,
            ledger=Ledger(channel),
            credentials=jobs,
            buckets=settings.tiers_buckets,
        )
        job = asyncio.create_task(_follow(context, settings) if following else asyncio.sleep(0))
        try:
            yield context
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)


async def _follow(context: TiersContext, settings: TiersSettings) -> None:
    await follow_ledger.run(context, settings.tiers_dsn)


def read_verifier(path: Path) -> TokenVerifier:
    """A verifier that trusts the key set of a file; an unknown key makes it read it again."""

    def read() -> dict[str, object]:
        keys: dict[str, object] = json.loads(path.read_text())
        return keys

    return TokenVerifier(read(), reload=read)


async def main() -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    settings = read_settings()
    logs.configure(service="tiers", level=settings.log_level, as_json=settings.log_json)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running(settings) as context:
        server = build(settings, context, read_verifier(settings.jwks_path))
        await server.start()
        await stopping.wait()
        await server.stop()


if __name__ == "__main__":
    uvloop.run(main())

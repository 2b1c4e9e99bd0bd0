"""Runs the tiers: reads the settings, builds everything, serves until it is told to stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from chassis import forgetting
from chassis.buckets import ensure_buckets
from chassis.channels import open_channel
from chassis.credentials import OwnCredentials
from chassis.database import ACQUIRE_TIMEOUT_S, Pools, open_pools
from chassis.identity import TokenIssuer, TokenVerifier, read_issuer, read_verifier
from chassis.jobs import beside
from chassis.migrations import migrate
from chassis.serve import run_service
from chassis.server import Server, build_server
from loyalty.common.v1.clock_pb2_grpc import add_ClockServiceServicer_to_server
from loyalty.tiers.v1.tiers_pb2_grpc import add_TierServiceServicer_to_server
from services.tiers.jobs import follow_ledger
from services.tiers.operations.context import TiersContext
from services.tiers.operations.forget import forget_erasures
from services.tiers.peers.ledger import RETRIED, Ledger
from services.tiers.rpc.clock import ClockServicer
from services.tiers.rpc.scopes import SCOPES
from services.tiers.rpc.tiers import TierServicer
from services.tiers.settings import TiersSettings

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
    settings: TiersSettings, issuer: TokenIssuer, *, following: bool = True
) -> AsyncIterator[TiersContext]:
    """The tiers without their server: database, ledger and jobs; stopped in order at the end.

    `issuer` signs the jobs' own tokens. Without `following` another process follows the ledger.
    """
    async with (
        opened(settings) as pools,
        open_channel(settings.ledger_target(), settings, RETRIED) as channel,
    ):
        context = TiersContext(
            writes=pools.lanes,
            reads=pools.reads,
            ledger=Ledger(channel),
            credentials=OwnCredentials(issuer, "service:tiers", {"ledger:read"}),
            buckets=settings.tiers_buckets,
        )
        jobs = [forgetting.run(partial(forget_erasures, context), settings.erasure_days)]
        if following:
            jobs.append(follow_ledger.run(context, settings.tiers_dsn))
        async with beside(jobs):
            yield context


async def serve(settings: TiersSettings, stopping: asyncio.Event) -> None:
    """Serve until told to stop, then drain."""
    issuer = read_issuer(settings.service_key_path)
    async with running(settings, issuer) as context:
        server = build(settings, context, read_verifier(settings.jwks_path))
        await server.start()
        await stopping.wait()
        await server.stop()


if __name__ == "__main__":
    run_service("tiers", TiersSettings, serve)

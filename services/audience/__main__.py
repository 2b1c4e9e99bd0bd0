"""Runs the audience service: reads the settings, builds everything, serves until told to stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from chassis.channels import open_channel
from chassis.credentials import OwnCredentials
from chassis.database import open_pools
from chassis.identity import TokenIssuer, TokenVerifier, read_issuer, read_verifier
from chassis.jobs import beside
from chassis.migrations import migrate
from chassis.serve import run_service
from chassis.server import Server, build_server
from loyalty.audience.v1.audience_pb2_grpc import add_AudienceServiceServicer_to_server
from loyalty.common.v1.clock_pb2_grpc import add_ClockServiceServicer_to_server
from services.audience.jobs import following
from services.audience.operations.context import AudienceContext
from services.audience.peers import ledger, tiers
from services.audience.rpc.audience import AudienceServicer
from services.audience.rpc.clock import ClockServicer
from services.audience.rpc.scopes import SCOPES
from services.audience.settings import AudienceSettings

MIGRATIONS = Path(__file__).with_name("store") / "migrations"


def build(settings: AudienceSettings, context: AudienceContext, verifier: TokenVerifier) -> Server:
    """The audience service's server, not started."""
    return build_server(
        name="audience",
        servicers=[
            (
                add_AudienceServiceServicer_to_server,
                AudienceServicer(context),
                "loyalty.audience.v1.AudienceService",
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
        port=settings.audience_port,
    )


@asynccontextmanager
async def opened(settings: AudienceSettings, issuer: TokenIssuer) -> AsyncIterator[AudienceContext]:
    """What the use cases work with, following nothing: the database, migrated, and the peers.

    `issuer` signs this service's own tokens.
    """
    owner_dsn = settings.audience_migration_dsn or settings.audience_dsn
    await asyncio.to_thread(migrate, owner_dsn, MIGRATIONS, settings.audience_dsn)
    pools = await open_pools(
        settings.audience_dsn, settings.audience_writes, settings.audience_reads
    )
    # A credential that reaches audiences need not reach the ledger, which is asked with our own.
    scopes = {"ledger:read", "programs:read"}
    credentials = OwnCredentials(issuer, "service:audience", scopes)
    to_ledger = open_channel(settings.ledger_target(), settings, ledger.RETRIED)
    to_tiers = open_channel(settings.tiers_target(), settings)
    try:
        yield AudienceContext(
            pools=pools,
            ledger=ledger.Ledger(to_ledger, credentials),
            tiers=tiers.Tiers(to_tiers, credentials),
            clock=lambda: datetime.now(UTC),
        )
    finally:
        await to_ledger.close()
        await to_tiers.close()
        await pools.close()


@asynccontextmanager
async def running(
    settings: AudienceSettings, issuer: TokenIssuer
) -> AsyncIterator[AudienceContext]:
    """The audience service without its server, following the streams; stopped at the end."""
    async with opened(settings, issuer) as context, beside(following.jobs(context)):
        yield context


async def serve(settings: AudienceSettings, stopping: asyncio.Event) -> None:
    """Serve until told to stop, then drain."""
    issuer = read_issuer(settings.service_key_path)
    async with running(settings, issuer) as context:
        server = build(settings, context, read_verifier(settings.jwks_path))
        await server.start()
        await stopping.wait()
        await server.stop()


if __name__ == "__main__":
    run_service("audience", AudienceSettings, serve)

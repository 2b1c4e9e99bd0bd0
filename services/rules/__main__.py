"""Runs rules: reads the settings, builds everything, serves until it is told to stop."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from chassis import logs
from chassis.channels import open_channel
from chassis.credentials import OwnCredentials
from chassis.database import Pools, open_pools
from chassis.identity import TokenVerifier, read_issuer, read_verifier
from chassis.jobs import beside
from chassis.migrations import migrate
from chassis.serve import run_service
from chassis.server import Server, build_server
from loyalty.common.v1.clock_pb2_grpc import add_ClockServiceServicer_to_server
from loyalty.rules.v1.earning_pb2_grpc import add_EarningServiceServicer_to_server
from loyalty.rules.v1.events_pb2_grpc import add_EventServiceServicer_to_server
from services.rules.jobs import following, redrive
from services.rules.operations.context import RulesContext
from services.rules.operations.programs import Programs
from services.rules.peers.credentials import ACTOR, OWN_SCOPES, Credentials
from services.rules.peers.erasures import Erasures
from services.rules.peers.ledger import RETRIED, Ledger
from services.rules.peers.tiers import Tiers
from services.rules.rpc.clock import ClockServicer
from services.rules.rpc.earning import EarningServicer
from services.rules.rpc.events import SHAPES, EventServicer
from services.rules.rpc.scopes import SCOPES
from services.rules.settings import RulesSettings
from services.rules.store.rulesets import RulesetCache

MIGRATIONS = Path(__file__).with_name("store") / "migrations"


def build(settings: RulesSettings, rules: RulesContext, verifier: TokenVerifier) -> Server:
    """The server of rules, not started."""
    return build_server(
        name="rules",
        servicers=[
            (
                add_EventServiceServicer_to_server,
                EventServicer(rules),
                "loyalty.rules.v1.EventService",
            ),
            (
                add_EarningServiceServicer_to_server,
                EarningServicer(rules),
                "loyalty.rules.v1.EarningService",
            ),
            (
                add_ClockServiceServicer_to_server,
                ClockServicer(rules),
                "loyalty.common.v1.ClockService",
            ),
        ],
        scopes=SCOPES,
        verifier=verifier,
        settings=settings,
        port=settings.rules_port,
        shapes=SHAPES,
    )


@asynccontextmanager
async def opened(settings: RulesSettings) -> AsyncIterator[Pools]:
    """The database of rules, migrated: pools that write and read."""
    owner_dsn = settings.rules_migration_dsn or settings.rules_dsn
    await asyncio.to_thread(migrate, owner_dsn, MIGRATIONS, settings.rules_dsn)
    pools = await open_pools(settings.rules_dsn, settings.rules_writes, settings.rules_reads)
    try:
        yield pools
    finally:
        await pools.close()


@asynccontextmanager
async def running(settings: RulesSettings) -> AsyncIterator[RulesContext]:
    """Rules without their server: database, channels and job; stopped in order at the end."""
    async with (
        opened(settings) as pools,
        open_channel(settings.ledger_target(), settings, RETRIED) as to_ledger,
        open_channel(settings.tiers_target(), settings) as to_tiers,
    ):
        ledger = Ledger(to_ledger)
        credentials = read_credentials(settings.service_key_path)
        context = RulesContext(
            writes=pools.lanes,
            reads=pools.reads,
            rulesets=RulesetCache(pools.reads),
            programs=Programs(ledger, credentials, time.monotonic),
            ledger=ledger,
            tiers=Tiers(to_tiers),
            credentials=credentials,
            clock=lambda: datetime.now(UTC),
            random=random.SystemRandom().randrange,
            redrive_after_seconds=settings.rules_redrive_after_seconds,
            tiers_seconds=settings.rules_tiers_seconds,
        )
        jobs = []
        if credentials.own is not None:
            jobs = [
                redrive.run(context, settings.rules_redrive_every_seconds),
                following.run(context, Erasures(to_ledger), credentials.own),
            ]
        else:
            logs.logger("rules").warning(
                "without a key of its own, unfinished events wait, and who is erased stays"
            )
        async with beside(jobs):
            yield context


def read_credentials(path: Path | None) -> Credentials:
    """What other services are shown, signed with the service's own key where there is one."""
    if path is None:
        return Credentials(None)
    return Credentials(OwnCredentials(read_issuer(path), ACTOR, OWN_SCOPES))


async def serve(settings: RulesSettings, stopping: asyncio.Event) -> None:
    """Serve until told to stop, then drain."""
    async with running(settings) as rules:
        server = build(settings, rules, read_verifier(settings.jwks_path))
        await server.start()
        await stopping.wait()
        await server.stop()


if __name__ == "__main__":
    run_service("rules", RulesSettings, serve)

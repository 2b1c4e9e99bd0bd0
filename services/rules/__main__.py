"""Runs rules: reads the settings, builds everything, serves until it is told to stop."""

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from chassis import logs
from chassis.database import Pools, open_pools
from chassis.identity import TokenIssuer, TokenVerifier
from chassis.migrations import migrate
from chassis.server import Server, build_server
from loyalty.common.v1.clock_pb2_grpc import add_ClockServiceServicer_to_server
from loyalty.rules.v1.earning_pb2_grpc import add_EarningServiceServicer_to_server
from loyalty.rules.v1.events_pb2_grpc import add_EventServiceServicer_to_server
from services.rules.jobs import redrive
from services.rules.operations.context import RulesContext
from services.rules.operations.programs import Programs
from services.rules.peers.channels import open_channel
from services.rules.peers.credentials import Credentials
from services.rules.peers.ledger import RETRIED, Ledger
from services.rules.peers.tiers import Tiers
from services.rules.rpc.clock import ClockServicer
from services.rules.rpc.earning import EarningServicer
from services.rules.rpc.events import SHAPES, EventServicer
from services.rules.rpc.scopes import SCOPES
from services.rules.settings import RulesSettings, read_settings
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
    certificates = None
    if settings.tls_certificate_path and settings.tls_key_path and settings.tls_ca_path:
        certificates = (
            settings.tls_certificate_path,
            settings.tls_key_path,
            settings.tls_ca_path,
        )
    async with (
        opened(settings) as pools,
        open_channel(
            settings.ledger_target(), retried=RETRIED, certificates=certificates
        ) as to_ledger,
        open_channel(settings.tiers_target(), certificates=certificates) as to_tiers,
    ):
        ledger = Ledger(to_ledger)
        credentials = Credentials(read_issuer(settings.service_key_path))
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
        if credentials.own:
            jobs = [asyncio.create_task(redrive.run(context, settings.rules_redrive_every_seconds))]
        else:
            logs.logger("rules").warning("without a key of its own, unfinished events wait")
        try:
            yield context
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)


def read_issuer(path: Path | None) -> TokenIssuer | None:
    """What signs credentials of the service's own, where there is a key."""
    return None if path is None else TokenIssuer(json.loads(path.read_text()))


def read_verifier(path: Path) -> TokenVerifier:
    """A verifier that trusts the key set of a file; an unknown key makes it read it again."""

    def read() -> dict[str, object]:
        keys: dict[str, object] = json.loads(path.read_text())
        return keys

    return TokenVerifier(read(), reload=read)


async def main() -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    settings = read_settings()
    logs.configure(service="rules", level=settings.log_level, as_json=settings.log_json)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running(settings) as rules:
        server = build(settings, rules, read_verifier(settings.jwks_path))
        await server.start()
        await stopping.wait()
        await server.stop()


if __name__ == "__main__":
    uvloop.run(main())

"""Runs the ledger: reads the settings, builds everything, serves until it is told to stop."""

import asyncio
import secrets
import zoneinfo
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from babel.numbers import list_currencies
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis import forgetting
from chassis.bell import Bell
from chassis.buckets import ensure_buckets
from chassis.database import ACQUIRE_TIMEOUT_S, Pools, engine, open_pools
from chassis.identity import TokenVerifier, read_verifier
from chassis.jobs import beside
from chassis.memory import spare_collections
from chassis.migrations import migrate
from chassis.serve import run_service
from chassis.server import Server, build_server
from chassis.settings import WrongSettings
from chassis.signing import KeyUnusable, read_signer
from kernel.ids import surrogate
from loyalty.common.v1.clock_pb2_grpc import add_ClockServiceServicer_to_server
from loyalty.ledger.v1.account_pb2_grpc import add_AccountServiceServicer_to_server
from loyalty.ledger.v1.ledger_pb2_grpc import add_LedgerServiceServicer_to_server
from loyalty.ledger.v1.program_pb2_grpc import add_ProgramServiceServicer_to_server
from loyalty.ledger.v1.proof_pb2_grpc import add_ProofServiceServicer_to_server
from loyalty.ledger.v1.report_pb2_grpc import add_ReportServiceServicer_to_server
from services.ledger.domain.programs import Known
from services.ledger.jobs import checkpoints, settlement, waking
from services.ledger.operations.checkpoints import Keeper, ProofContext
from services.ledger.operations.context import ProgramContext, Settler
from services.ledger.operations.environment import Environment
from services.ledger.operations.erase_member import forget_erasures
from services.ledger.operations.lanes import Lanes
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.rpc.clock import ClockServicer
from services.ledger.rpc.ledger import LedgerServicer
from services.ledger.rpc.members import AccountServicer
from services.ledger.rpc.programs import ProgramServicer
from services.ledger.rpc.proof import ProofServicer
from services.ledger.rpc.reports import ReportServicer
from services.ledger.rpc.scopes import SCOPES
from services.ledger.settings import LedgerSettings
from services.ledger.store.checkpoint_file import CheckpointFile
from services.ledger.store.programs import ProgramCache

MIGRATIONS = Path(__file__).with_name("store") / "migrations"


def known_names() -> Known:
    """The time zones and currency codes of this machine's data."""
    zones = zoneinfo.available_timezones() - {"Factory", "localtime"}
    return Known(frozenset(zones), frozenset(list_currencies()))


def program_context(
    settings: LedgerSettings,
    pools: Pools,
    database: AsyncEngine,
    cache: ProgramCache,
    settler: Settler,
) -> ProgramContext:
    """What the use cases of programs work with, on the server's clock."""
    return ProgramContext(
        engine=database,
        reads=pools.reads,
        cache=cache,
        settler=settler,
        buckets=settings.ledger_buckets,
        known=known_names(),
        clock=lambda: datetime.now(UTC),
        surrogate=lambda instant: surrogate(instant, secrets.randbits(21)),
    )


def proof_context(settings: LedgerSettings, programs: ProgramContext) -> ProofContext:
    """What the use cases of checkpoints work with. Raises WrongSettings for a key that is none."""
    keeper = None
    if settings.checkpoint_path is not None and settings.checkpoint_key_path is not None:
        try:
            signer = read_signer(settings.checkpoint_key_path)
        except KeyUnusable as error:
            raise WrongSettings(f"LOYALTY_CHECKPOINT_KEY_PATH: {error}") from None
        keeper = Keeper(CheckpointFile(settings.checkpoint_path), signer)
    return ProofContext(
        programs.engine, programs.reads, settings.ledger_buckets, programs.clock, keeper
    )


def build(
    settings: LedgerSettings,
    programs: ProgramContext,
    ledger: LedgerContext,
    verifier: TokenVerifier,
) -> Server:
    """The ledger's server, not started."""
    return build_server(
        name="ledger",
        servicers=[
            (
                add_LedgerServiceServicer_to_server,
                LedgerServicer(ledger),
                "loyalty.ledger.v1.LedgerService",
            ),
            (
                add_ProgramServiceServicer_to_server,
                ProgramServicer(programs),
                "loyalty.ledger.v1.ProgramService",
            ),
            (
                add_AccountServiceServicer_to_server,
                AccountServicer(programs, ledger),
                "loyalty.ledger.v1.AccountService",
            ),
            (
                add_ProofServiceServicer_to_server,
                ProofServicer(ledger, proof_context(settings, programs)),
                "loyalty.ledger.v1.ProofService",
            ),
            (
                add_ReportServiceServicer_to_server,
                ReportServicer(ledger),
                "loyalty.ledger.v1.ReportService",
            ),
            (
                add_ClockServiceServicer_to_server,
                ClockServicer(programs),
                "loyalty.common.v1.ClockService",
            ),
        ],
        scopes=SCOPES,
        verifier=verifier,
        settings=settings,
        port=settings.ledger_port,
    )


@asynccontextmanager
async def opened(settings: LedgerSettings) -> AsyncIterator[tuple[Pools, AsyncEngine]]:
    """The ledger's database, migrated and checked: pools for postings and reads, and an engine.

    Raises BucketsDiffer where it was created with another number of buckets.
    """
    owner_dsn = settings.ledger_migration_dsn or settings.ledger_dsn
    await asyncio.to_thread(migrate, owner_dsn, MIGRATIONS, settings.ledger_dsn)
    pools = await open_pools(settings.ledger_dsn, settings.ledger_lanes, settings.ledger_reads)
    database = engine(settings.ledger_dsn, settings.ledger_admin_connections)
    try:
        async with pools.lanes.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            await ensure_buckets(connection, settings.ledger_buckets)
        yield pools, database
    finally:
        await database.dispose()
        await pools.close()


@asynccontextmanager
async def running(
    settings: LedgerSettings,
) -> AsyncIterator[tuple[ProgramContext, LedgerContext]]:
    """The ledger without its server: database, lanes and jobs; stopped in order at the end."""
    async with opened(settings) as (pools, database):
        cache = ProgramCache(pools.reads)
        environment = Environment(cache, settings.ledger_buckets)
        bell = Bell()
        lanes = Lanes(environment, pools.lanes, settings.ledger_lanes, bell.ring)
        ledger = LedgerContext(environment, lanes, pools.reads, bell)
        programs = program_context(settings, pools, database, cache, lanes)
        proof = proof_context(settings, programs)
        lanes.start()
        jobs = [
            settlement.run(ledger),
            waking.run(ledger),
            forgetting.run(partial(forget_erasures, programs), settings.erasure_days),
        ]
        if proof.keeper is not None and settings.checkpoint_minutes:
            jobs.append(checkpoints.run(proof, settings.checkpoint_minutes))
        try:
            async with beside(jobs):
                yield programs, ledger
        finally:
            await lanes.stop()
            await checkpoints.drain(proof)


async def serve(settings: LedgerSettings, stopping: asyncio.Event) -> None:
    """Serve until told to stop, then drain."""
    async with running(settings) as (programs, ledger):
        server = build(settings, programs, ledger, read_verifier(settings.jwks_path))
        await server.start()
        spare_collections()
        await stopping.wait()
        await server.stop()


if __name__ == "__main__":
    run_service("ledger", LedgerSettings, serve)

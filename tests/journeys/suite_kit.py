"""The five real services in one process, each of which can be stopped and started again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx

from chassis.identity import TokenIssuer
from chassis.server import Server
from loyalty.ledger.v1 import program_pb2
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from services.audience import __main__ as audience
from services.audience.settings import AudienceSettings
from services.gateway.__main__ import Ports
from services.gateway.__main__ import running as gateway_running
from services.ledger import __main__ as ledger
from services.ledger.settings import LedgerSettings
from services.rules import __main__ as rules
from services.rules.settings import RulesSettings
from services.tiers import __main__ as tiers
from services.tiers.settings import TiersSettings
from testkit import keys, servers
from testkit.postgres import TestDatabase, TestPostgres
from testkit.servers import authorized_channel
from tests.gateway.gateway_kit import ADMIN, EVERYTHING, gateway_settings, write_keys

STRANGER = "key-of-another-organization"
NEWCOMER = "key-of-an-organization-that-has-switched-nothing-on"
# In the order of starting: nobody starts before those that it calls.
BEHIND = ("ledger", "tiers", "rules", "audience")
BUCKETS = 8


class Suite:
    """Real services over databases of their own, behind a real gateway."""

    def __init__(self, folder: Path, databases: dict[str, TestDatabase]) -> None:
        self._folder = folder
        self._databases = databases
        self._stacks: dict[str, AsyncExitStack] = {}
        self.ports: dict[str, int] = dict.fromkeys(BEHIND, 0)
        self.gateway = Ports(0, 0)

    async def start(self, name: str) -> None:
        """Start one service, on its port of before where it had one."""
        stack = self._stacks[name] = AsyncExitStack()
        server = await getattr(self, f"_{name}")(stack)
        self.ports[name] = await stack.enter_async_context(servers.running(server))

    async def stop(self, name: str) -> None:
        """Stop one service."""
        await self._stacks.pop(name).aclose()

    async def stop_all(self) -> None:
        """Stop what runs, callers first."""
        for name in reversed(BEHIND):
            if name in self._stacks:
                await self.stop(name)

    @property
    def addresses(self) -> dict[str, str]:
        """The settings that lead to the services."""
        return {f"{name}_address": f"127.0.0.1:{port}" for name, port in self.ports.items()}

    async def create_organization(self, organization: str, **settings: bool) -> None:
        """Register an organization with these settings."""
        request = program_pb2.CreateOrganizationRequest(
            organization=organization,
            settings=program_pb2.OrganizationSettings(**settings),
        )
        async with authorized_channel(self.ports["ledger"]) as channel:
            programs: Any = ProgramServiceStub(channel)
            await programs.CreateOrganization(request)

    def client(self, key: str = ADMIN) -> httpx.AsyncClient:
        """A client of the gateway, with the administrator's key of `acme`."""
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.gateway.http}",
            headers={"authorization": f"Bearer {key}"},
            limits=httpx.Limits(max_connections=60),
            timeout=30,
            trust_env=False,
            # Reading the world's certificates, which nobody shows here, takes longer than a call.
            verify=False,
        )

    def _common(self, name: str) -> dict[str, Any]:
        database = self._databases[name]
        peers = {key: value for key, value in self.addresses.items() if name not in key}
        return {
            f"{name}_dsn": database.dsn,
            f"{name}_migration_dsn": database.owner_dsn,
            f"{name}_port": self.ports[name],
            f"{name}_reads": 4,
            "drain_seconds": 2.0,
            "access_log_sample": 0.0,
            **peers,
        }

    async def _ledger(self, stack: AsyncExitStack) -> Server:
        settings = LedgerSettings(**self._common("ledger"), ledger_buckets=BUCKETS, ledger_lanes=2)
        programs, points = await stack.enter_async_context(ledger.running(settings))
        return ledger.build(settings, programs, points, keys.verifier())

    async def _tiers(self, stack: AsyncExitStack) -> Server:
        settings = TiersSettings(**self._common("tiers"), tiers_buckets=BUCKETS, tiers_writes=4)
        context = await stack.enter_async_context(tiers.running(settings, keys.issuer()))
        return tiers.build(settings, context, keys.verifier())

    async def _rules(self, stack: AsyncExitStack) -> Server:
        settings = RulesSettings(
            **self._common("rules"),
            rules_writes=4,
            service_key_path=self._folder / "signing.json",
            rules_redrive_after_seconds=0.5,
            rules_redrive_every_seconds=0.2,
        )
        context = await stack.enter_async_context(rules.running(settings))
        return rules.build(settings, context, keys.verifier())

    async def _audience(self, stack: AsyncExitStack) -> Server:
        settings = AudienceSettings(**self._common("audience"), audience_writes=4)
        issuer: TokenIssuer = keys.issuer()
        context = await stack.enter_async_context(audience.running(settings, issuer))
        return audience.build(settings, context, keys.verifier())


@asynccontextmanager
async def running_suite(postgres: TestPostgres, folder: Path) -> AsyncIterator[Suite]:
    """All five services; the organizations `acme` and `other` are known, `acme` is registered."""
    databases = {name: postgres.fresh(name) for name in BEHIND}
    # The keys' files come first: services read them when they start.
    gateway_settings(folder)
    suite = Suite(folder, databases)
    try:
        for name in BEHIND:
            await suite.start(name)
        await suite.create_organization("acme", multiple_programs=True)
        settings = gateway_settings(folder, **suite.addresses)
        organizations = {ADMIN: "acme", STRANGER: "other", NEWCOMER: "newcomer"}
        write_keys(folder, {key: (name, EVERYTHING) for key, name in organizations.items()})
        async with gateway_running(settings) as suite.gateway:
            yield suite
    finally:
        await suite.stop_all()
        for database in databases.values():
            postgres.drop(database.name)


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> float:
    """Wait until a check holds and answer how long it took; fails after `seconds`."""
    began = monotonic()
    while not await check():
        assert monotonic() - began < seconds, "did not come to hold"
        await asyncio.sleep(0.02)
    return monotonic() - began

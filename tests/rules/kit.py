"""Real rules over a real ledger and tiers set by hand, and short ways to call them."""

import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.common.v1 import money_pb2
from loyalty.common.v1.clock_pb2_grpc import ClockServiceStub
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.rules.v1 import earning_pb2, events_pb2
from loyalty.rules.v1.earning_pb2_grpc import EarningServiceStub
from loyalty.rules.v1.events_pb2_grpc import EventServiceStub
from services.ledger.__main__ import build as build_ledger
from services.ledger.__main__ import running as ledger_process
from services.ledger.settings import LedgerSettings
from services.rules.__main__ import build as build_rules
from services.rules.__main__ import running as rules_process
from services.rules.operations.context import RulesContext
from services.rules.settings import RulesSettings
from testkit import keys
from testkit.postgres import TestDatabase, TestPostgres
from testkit.servers import authorized_channel, running
from tests.rules.fake_tiers import FakeTiers

PROGRAM = "p1"
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class LedgerServer:
    """A real ledger that can go away and come back on the same port."""

    database: TestDatabase
    port: int = 0
    _stack: AsyncExitStack | None = None

    async def start(self) -> None:
        """Serve; on the port of last time."""
        settings = LedgerSettings(
            ledger_dsn=self.database.dsn,
            ledger_migration_dsn=self.database.owner_dsn,
            ledger_buckets=8,
            ledger_port=self.port,
            ledger_lanes=2,
            ledger_reads=4,
            drain_seconds=1.0,
            access_log_sample=0.0,
        )
        stack = AsyncExitStack()
        programs, ledger = await stack.enter_async_context(ledger_process(settings))
        server = build_ledger(settings, programs, ledger, keys.verifier())
        self.port = await stack.enter_async_context(running(server))
        self._stack = stack

    async def stop(self) -> None:
        """Be away."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()


@dataclass
class RulesServer:
    """One process's worth of rules, within this process."""

    context: RulesContext
    channel: grpc.aio.Channel

    @property
    def events(self) -> Any:
        """Events."""
        return EventServiceStub(self.channel)

    @property
    def earning(self) -> Any:
        """What events are worth."""
        return EarningServiceStub(self.channel)

    @property
    def clock(self) -> Any:
        """The clock of sandboxes."""
        return ClockServiceStub(self.channel)

    async def submit(self, event: events_pb2.Event, program: str = PROGRAM) -> Any:
        """`SubmitEvent`."""
        return await self.events.SubmitEvent(
            events_pb2.SubmitEventRequest(program=program, event=event)
        )

    async def batch(
        self, events: Sequence[events_pb2.Event], program: str = PROGRAM, *, brief: bool = False
    ) -> Any:
        """`BatchSubmitEvents`: the results."""
        answer = await self.events.BatchSubmitEvents(
            events_pb2.BatchSubmitEventsRequest(program=program, events=events, brief=brief)
        )
        return list(answer.results)

    async def get(self, event: str, program: str = PROGRAM) -> Any:
        """`GetEvent`."""
        return await self.events.GetEvent(events_pb2.GetEventRequest(program=program, event=event))

    async def rule(self, rule: str = "base", program: str = PROGRAM, **fields: Any) -> Any:
        """`CreateEarningRule`; one point a unit where nothing is said."""
        return await self.earning.CreateEarningRule(
            earning_pb2.CreateEarningRuleRequest(
                program=program,
                rule=rule,
                earning_rule=earning_pb2.EarningRule(**{"points": "1", **fields}),
            )
        )


@dataclass
class Suite:
    """A ledger, tiers, and as many rules as a test starts over one database."""

    ledger: LedgerServer
    tiers: FakeTiers
    tiers_port: int
    database: TestDatabase
    channel: grpc.aio.Channel
    rows: "asyncpg.Pool[asyncpg.Record]"
    key_path: Path
    stack: AsyncExitStack
    servers: list[RulesServer] = field(default_factory=list)

    @property
    def rules(self) -> RulesServer:
        """The first of the rules."""
        return self.servers[0]

    @property
    def programs(self) -> Any:
        """Organizations and programs of the ledger."""
        return ProgramServiceStub(self.channel)

    @property
    def points(self) -> Any:
        """Accounts of the ledger."""
        return LedgerServiceStub(self.channel)

    def settings(self, **changes: Any) -> RulesSettings:
        """Settings of rules."""
        return RulesSettings(
            **{
                "rules_dsn": self.database.dsn,
                "rules_migration_dsn": self.database.owner_dsn,
                "rules_port": 0,
                "rules_writes": 4,
                "rules_reads": 4,
                "ledger_address": f"127.0.0.1:{self.ledger.port}",
                "tiers_address": f"127.0.0.1:{self.tiers_port}",
                "service_key_path": self.key_path,
                "rules_redrive_after_seconds": 3600.0,
                "drain_seconds": 1.0,
                "access_log_sample": 0.0,
                **changes,
            }
        )

    async def start_rules(self, **changes: Any) -> RulesServer:
        """One more of the rules; its job finds nothing unless a setting lets it."""
        settings = self.settings(**changes)
        context = await self.stack.enter_async_context(rules_process(settings))
        server = build_rules(settings, context, keys.verifier())
        port = await self.stack.enter_async_context(running(server))
        channel = await self.stack.enter_async_context(authorized_channel(port))
        self.servers.append(RulesServer(context, channel))
        return self.servers[-1]

    async def create_program(self, program: str = PROGRAM, **changes: Any) -> None:
        """A sandbox that enrols automatically."""
        settings = {"auto_enrol": True, **changes}
        await self.programs.CreateProgram(
            program_pb2.CreateProgramRequest(
                program=program,
                sandbox=True,
                start_time=stamp(START),
                settings=program_pb2.ProgramSettings(
                    program=program_pb2.GeneralSettings(**settings),
                    currencies=program_pb2.CurrenciesSettings(alternate=True),
                ),
            )
        )

    async def account(self, member: str, program: str = PROGRAM) -> Any:
        """What the ledger has of a member, with spend and visits."""
        return await self.points.GetAccount(
            ledger_pb2.GetAccountRequest(
                program=program,
                member=member,
                windows=[
                    resources_pb2.CounterWindow(
                        counter=counter, period=resources_pb2.CounterWindow.LIFETIME
                    )
                    for counter in ("spend", "visits")
                ],
            )
        )

    async def numbers(self, member: str, program: str = PROGRAM) -> tuple[int, int, int]:
        """Points, spend and visits of a member; zeros where it is not enrolled."""
        found = await self.spent_by([member], program)
        return found.get(member, (0, 0, 0))

    async def spent_by(
        self, members: Sequence[str], program: str
    ) -> dict[str, tuple[int, int, int]]:
        """Points, spend and visits by member."""
        known = await self.programs.ListCounters(program_pb2.ListCountersRequest(program=program))
        counters = [each.counter for each in known.counters]
        answer = await self.points.BatchGetAccounts(
            ledger_pb2.BatchGetAccountsRequest(
                program=program,
                members=members,
                windows=[
                    resources_pb2.CounterWindow(
                        counter=counter, period=resources_pb2.CounterWindow.LIFETIME
                    )
                    for counter in counters
                ],
            )
        )
        counted = {
            each.member: {value.window.counter: value.value for value in each.counters}
            for each in answer.accounts
        }
        return {
            each.member: (
                each.balances[0].available,
                counted[each.member].get("spend", 0),
                counted[each.member].get("visits", 0),
            )
            for each in answer.accounts
        }

    async def verified(self, member: str, program: str = PROGRAM) -> bool:
        """Whether the ledger finds nothing wrong with the account."""
        answer = await self.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program=program, member=member)
        )
        return bool(answer.ok)


@asynccontextmanager
async def suite(postgres: TestPostgres) -> AsyncIterator[Suite]:
    """A ledger, tiers and one of the rules, with the organization `acme` and the program `p1`."""
    ledger_database, rules_database = postgres.fresh("ledger"), postgres.fresh("rules")
    folder = tempfile.TemporaryDirectory(prefix="loyalty-rules-")
    key_path = Path(folder.name) / "signing.json"
    key_path.write_text(json.dumps(keys.key_pair()[0]))
    ledger = LedgerServer(ledger_database)
    async with AsyncExitStack() as stack:
        stack.callback(folder.cleanup)
        stack.callback(postgres.drop, ledger_database.name)
        stack.callback(postgres.drop, rules_database.name)
        await ledger.start()
        stack.push_async_callback(ledger.stop)
        channel = await stack.enter_async_context(authorized_channel(ledger.port))
        tiers = FakeTiers(None)  # type: ignore[abstract]  # what rules never ask is not there
        tiers_port = await tiers.start()
        stack.push_async_callback(tiers.stop)
        rows = await stack.enter_async_context(
            asyncpg.create_pool(rules_database.owner_dsn, min_size=1, max_size=2)
        )
        served = Suite(ledger, tiers, tiers_port, rules_database, channel, rows, key_path, stack)

        async def spent(program: str, members: list[str]) -> Mapping[str, int]:
            found = await served.spent_by(members, program)
            return {member: numbers[1] for member, numbers in found.items()}

        tiers.spent = spent
        await served.programs.CreateOrganization(
            program_pb2.CreateOrganizationRequest(
                organization="acme",
                settings=program_pb2.OrganizationSettings(multiple_programs=True),
            )
        )
        await served.create_program()
        await served.start_rules()
        yield served


def stamp(instant: datetime) -> Timestamp:
    """The timestamp of an instant."""
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def purchase(
    event: str,
    member: str = "m1",
    amount: str = "12.34",
    when: datetime | None = None,
    **fields: Any,
) -> events_pb2.Event:
    """A purchase."""
    return events_pb2.Event(
        id=event,
        type="purchase",
        member=member,
        amount=money_pb2.Money(amount=amount),
        effective_time=None if when is None else stamp(when),
        **fields,
    )


def event(
    name: str, event_type: str, member: str = "m1", when: datetime | None = None, **fields: Any
) -> events_pb2.Event:
    """An event of any type."""
    return events_pb2.Event(
        id=name,
        type=event_type,
        member=member,
        effective_time=None if when is None else stamp(when),
        **fields,
    )

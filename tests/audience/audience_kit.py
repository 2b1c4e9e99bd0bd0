"""The audience service over a real ledger and a stand-in for the tiers, and short ways to ask."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceStub
from loyalty.common.v1.clock_pb2_grpc import ClockServiceStub
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import (
    TierServiceServicer,
    add_TierServiceServicer_to_server,
)
from services.audience.__main__ import build
from services.audience.__main__ import running as audience_process
from services.audience.operations.context import AudienceContext
from services.audience.settings import AudienceSettings
from testkit import keys
from testkit.postgres import TestDatabase
from testkit.servers import authorized_channel, running, serving
from tests.ledger.programs_kit import LedgerUnderTest

AUTO_ENROL = program_pb2.ProgramSettings(
    program=program_pb2.GeneralSettings(auto_enrol=True),
    currencies=program_pb2.CurrenciesSettings(alternate=True),
)
Criterion = audience_pb2.AudienceCriterion
PATIENCE_S = 20.0


def now() -> Timestamp:
    """The clock's now."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp


class TiersStandIn(TierServiceServicer):
    """Publishes the changes that a test puts into it, as the tiers do."""

    def __init__(self) -> None:
        self.changes: list[tiers_pb2.Change] = []
        self.repeats = False
        self._bell = asyncio.Event()

    def move(
        self, member: str, tier: str, *, program: str = "p1", organization: str = "acme"
    ) -> None:
        """Publish that a member stands elsewhere."""
        self.changes.append(
            tiers_pb2.Change(
                bucket=0,
                sequence=len(self.changes) + 1,
                organization=organization,
                program=program,
                record_time=now(),
                membership_changed=tiers_pb2.MembershipChange(
                    program=program, member=member, ladder="default", to_tier=tier
                ),
            )
        )
        self._bell.set()

    def erase(self, member: str, organization: str = "acme") -> None:
        """Publish that a member was erased."""
        self.changes.append(
            tiers_pb2.Change(
                bucket=0,
                sequence=len(self.changes) + 1,
                organization=organization,
                record_time=now(),
                member_erased=tiers_pb2.MemberErased(member=member),
            )
        )
        self._bell.set()

    async def WatchChanges(
        self, request: tiers_pb2.WatchChangesRequest, context: Any
    ) -> AsyncIterator[tiers_pb2.WatchChangesResponse]:
        """Changes after the cursor, and a heartbeat every half a second."""
        position = 0 if self.repeats else request.cursors.get(0, 0)
        while True:
            self._bell.clear()
            changes = self.changes[position:]
            position = len(self.changes)
            yield tiers_pb2.WatchChangesResponse(
                changes=changes, cursors={0: position} if position else {}, current_time=now()
            )
            try:
                async with asyncio.timeout(0.5):
                    await self._bell.wait()
            except TimeoutError:
                continue


@dataclass
class AudienceUnderTest:
    """A server over its database, following the ledger and the stand-in for the tiers."""

    context: AudienceContext
    channel: grpc.aio.Channel
    ledger: LedgerUnderTest
    tiers: TiersStandIn
    rows: "asyncpg.Pool[asyncpg.Record]"
    settings: AudienceSettings
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def audiences(self) -> Any:
        """Audiences."""
        return AudienceServiceStub(self.channel)

    @property
    def clock(self) -> Any:
        """The clock of sandboxes."""
        return ClockServiceStub(self.channel)

    def request_id(self) -> str:
        """A request id that was not used before."""
        return f"r{next(self._numbers)}"

    async def earn(self, member: str, points: int, program: str = "p1", **more: Any) -> None:
        """Give points."""
        await self.ledger.points.Earn(
            ledger_pb2.EarnRequest(
                program=program,
                member=member,
                request_id=self.request_id(),
                points=points,
                **more,
            )
        )

    async def earn_many(self, moves: Sequence[tuple[str, int]], program: str = "p1") -> None:
        """Give points to many members, in batches."""
        for start in range(0, len(moves), 500):
            await self.ledger.points.BatchPost(
                ledger_pb2.BatchPostRequest(
                    program=program,
                    requests=[
                        ledger_pb2.PostRequest(
                            member=member,
                            request_id=self.request_id(),
                            operations=[
                                ledger_pb2.Operation(earn=ledger_pb2.EarnOperation(points=given))
                            ],
                        )
                        for member, given in moves[start : start + 500]
                    ],
                )
            )

    async def redeem(self, member: str, points: int, program: str = "p1") -> None:
        """Spend points."""
        await self.ledger.points.Redeem(
            ledger_pb2.RedeemRequest(
                program=program, member=member, request_id=self.request_id(), points=points
            )
        )

    async def redeem_what_is_there(self, member: str, program: str = "p1") -> None:
        """Spend half of what a member has, if there is such a member."""
        found = await self.ledger.points.BatchGetAccounts(
            ledger_pb2.BatchGetAccountsRequest(program=program, members=[member])
        )
        for account in found.accounts:
            half = account.balances[0].available // 2
            if half:
                await self.redeem(member, half, program)

    async def adjust(self, member: str, points: int, program: str = "p1") -> None:
        """Credit points, or debit what is there of them."""
        with suppress(grpc.aio.AioRpcError):
            await self.ledger.points.Adjust(
                ledger_pb2.AdjustRequest(
                    program=program,
                    member=member,
                    request_id=self.request_id(),
                    points=points,
                    reason="test",
                )
            )

    async def enrol(self, member: str, program: str = "p1") -> None:
        """Enrol a member."""
        await self.ledger.members.EnrolMember(
            account_pb2.EnrolMemberRequest(
                program=program, member=member, request_id=self.request_id()
            )
        )

    async def add_currency(self, currency: str, program: str = "p1") -> None:
        """Add a currency to a program."""
        await self.ledger.programs.CreateCurrency(
            program_pb2.CreateCurrencyRequest(
                program=program, currency_id=currency, currency=program_pb2.Currency()
            )
        )

    async def create(
        self,
        audience: str,
        *criteria: Criterion,
        group: str = "",
        program: str = "p1",
        display_name: str = "",
    ) -> audience_pb2.Audience:
        """Create an audience."""
        created: audience_pb2.Audience = await self.audiences.CreateAudience(
            audience_pb2.CreateAudienceRequest(
                program=program,
                audience_id=audience,
                audience=audience_pb2.Audience(
                    criteria=criteria, group=group, display_name=display_name
                ),
            )
        )
        return created

    async def check(
        self, audience: str, member: str, program: str = "p1"
    ) -> audience_pb2.CheckMembershipResponse:
        """Whether a member belongs."""
        checked: audience_pb2.CheckMembershipResponse = await self.audiences.CheckMembership(
            audience_pb2.CheckMembershipRequest(program=program, member=member, audience=audience)
        )
        return checked

    async def members(self, audience: str, program: str = "p1", size: int = 0) -> list[str]:
        """All members of an audience, page by page."""
        found: list[str] = []
        token = ""
        while True:
            page = await self.audiences.ListAudienceMembers(
                audience_pb2.ListAudienceMembersRequest(
                    program=program, audience=audience, page_size=size, page_token=token
                )
            )
            found += page.members
            token = page.next_page_token
            if not token:
                return found

    async def profiles(self) -> dict[str, tuple[int, list[int], str]]:
        """What is stored of each member: the last entry, the amounts, the tier."""
        rows = await self.rows.fetch("SELECT member, sequence, amounts, tier FROM profile")
        return {row[0]: (row[1], list(row[2]), row[3]) for row in rows}

    async def assert_profiles_agree(self, program: str = "p1") -> None:
        """Every profile says what the ledger says, and there is one for every account."""
        stored = await self.profiles()
        members = sorted(stored)
        accounts: dict[str, Any] = {}
        for start in range(0, len(members), 1000):
            answer = await self.ledger.points.BatchGetAccounts(
                ledger_pb2.BatchGetAccountsRequest(
                    program=program, members=members[start : start + 1000]
                )
            )
            accounts |= {each.member: each for each in answer.accounts}

        assert await self.ledger.rows.fetchval("SELECT count(*) FROM account") == len(members)
        for member, (sequence, amounts, _) in stored.items():
            account = accounts[member]
            (balance,) = account.balances
            net = balance.available + balance.pending + balance.held - balance.debt
            earned = balance.totals.earned
            assert sequence == account.sequence
            assert (amounts or [0, 0, 0, 0]) == [balance.available, net, earned, earned]

    async def settled(self) -> None:
        """Wait until everything that is recorded now is applied."""
        await settled(self.context, self.rows, self.ledger, self.tiers)


async def settled(
    context: AudienceContext,
    rows: "asyncpg.Pool[asyncpg.Record]",
    ledger: LedgerUnderTest,
    tiers: TiersStandIn,
) -> None:
    """Wait until both streams are applied to where they are now."""
    heads = {row[0]: row[1] for row in await ledger.rows.fetch("SELECT * FROM head")}
    wanted = {("ledger", bucket): sequence for bucket, sequence in heads.items() if sequence}
    if tiers.changes:
        wanted["tiers", 0] = len(tiers.changes)

    async def there() -> bool:
        stored = {
            (row[0], row[1]): row[2]
            for row in await rows.fetch("SELECT stream, bucket, sequence FROM followed")
        }
        return all(stored.get(key, 0) >= sequence for key, sequence in wanted.items())

    await eventually(there)


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_S) -> None:
    """Wait until something holds; fails where it does not in time."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in a database
            await asyncio.sleep(0.02)


def audience_settings(
    database: TestDatabase, ledger_port: int, tiers_port: int
) -> AudienceSettings:
    """Settings of a service for tests."""
    return AudienceSettings(
        audience_dsn=database.dsn,
        audience_migration_dsn=database.owner_dsn,
        audience_port=0,
        audience_writes=4,
        audience_reads=4,
        ledger_address=f"127.0.0.1:{ledger_port}",
        tiers_address=f"127.0.0.1:{tiers_port}",
        drain_seconds=2.0,
        access_log_sample=0.0,
    )


@asynccontextmanager
async def tiers_served(tiers: TiersStandIn) -> AsyncIterator[int]:
    """Serve the stand-in; answers its port."""
    async with serving(
        (add_TierServiceServicer_to_server, tiers, "loyalty.tiers.v1.TierService"),
        scopes={"/loyalty.tiers.v1.TierService/WatchChanges": "changes:read"},
        name="tiers",
        access_log_sample=0.0,
    ) as (server, _):
        yield server.port


@asynccontextmanager
async def audience_under_test(
    database: TestDatabase, ledger: LedgerUnderTest
) -> AsyncIterator[AudienceUnderTest]:
    """Serve audiences over a database; every call carries a token that may do everything."""
    tiers = TiersStandIn()  # type: ignore[abstract]  # nothing but the stream is asked for
    async with (
        tiers_served(tiers) as tiers_port,
        asyncpg.create_pool(database.owner_dsn, min_size=1, max_size=4) as rows,
    ):
        settings = audience_settings(database, ledger.port, tiers_port)
        async with audience_process(settings, keys.issuer()) as context:
            server = build(settings, context, keys.verifier())
            async with running(server) as port, authorized_channel(port) as channel:
                yield AudienceUnderTest(context, channel, ledger, tiers, rows, settings)


def points(
    field: Criterion.Field.ValueType,
    minimum: int | None = None,
    maximum: int | None = None,
    currency: str = "",
) -> Criterion:
    """A criterion of points."""
    return Criterion(field=field, currency=currency, minimum=minimum, maximum=maximum)


def available(minimum: int | None = None, maximum: int | None = None) -> Criterion:
    """A range of the available balance of the default currency."""
    return points(Criterion.AVAILABLE, minimum, maximum)


def standing(*tiers: str) -> Criterion:
    """A criterion of tiers."""
    return Criterion(field=Criterion.TIER, tiers=tiers)


def values(
    checked: audience_pb2.CheckMembershipResponse,
) -> Sequence[tuple[bool, int, str]]:
    """What each criterion read: holds, value, tier."""
    return [(each.holds, each.value, each.tier) for each in checked.results]

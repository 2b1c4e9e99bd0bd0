"""A ledger in whose history everything happens, and somebody who may write into all its rows."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.ledger.v1 import (
    account_pb2,
    group_pb2,
    ledger_pb2,
    program_pb2,
    proof_pb2,
    resources_pb2,
)
from tests.ledger.checkpoint_kit import Kept
from tests.ledger.programs_kit import LedgerUnderTest

Connection = asyncpg.Connection
BEGIN = datetime(2026, 1, 10, 12, tzinfo=UTC)
PROGRAM = "story"
MEMBER = "ada"
RECIPIENT = "bob"
MEMBERS = (MEMBER, RECIPIENT, "greedy", "cara", "family", "dan", "ann")
BRING, TAKE_SHARE = group_pb2.GroupRules.BRING, group_pb2.GroupRules.TAKE_SHARE
REDEEM = group_pb2.GroupRole.REDEEM

# How a value of each type becomes another one; a number moves further where the next is taken.
CHANGES = {
    "int2": "coalesce({c}, 0) + {n}",
    "int4": "coalesce({c}, 0) + {n}",
    "int8": "coalesce({c}, 0) + {n}",
    "bool": "NOT coalesce({c}, false)",
    "text": "coalesce({c}, '') || 'x'",
    "bytea": "coalesce({c}, '') || '\\x00'",
    "uuid": "gen_random_uuid()",
    "timestamptz": "coalesce({c}, '2026-01-01') + interval '1 second'",
    "_int8": "CASE WHEN cardinality({c}) > 0 THEN ARRAY[{c}[1] + 1] || {c}[2:] ELSE '{{1}}' END",
    "jsonb": "coalesce({c}, '{{}}') || '{{\"x\": 1}}'",
}


def at(days: float) -> Timestamp:
    """An instant so many days after the beginning."""
    stamp = Timestamp()
    stamp.FromDatetime(BEGIN + timedelta(days=days))
    return stamp


class Story:
    """Tells a ledger a history in which everything happens once."""

    def __init__(self, ledger: LedgerUnderTest) -> None:
        self._ledger = ledger
        self._number = 0

    def _to(self, member: str = MEMBER) -> dict[str, Any]:
        self._number += 1
        return {"program": PROGRAM, "member": member, "request_id": f"r{self._number}"}

    async def tell(self) -> None:
        """All of it."""
        await self._create()
        await self._earn_and_spend()
        await self._hold()
        await self._reverse()
        await self._transfer_and_freeze()
        await self._join_and_leave()
        await self._merge()
        await self.advance(500)
        await self._later()

    async def advance(self, days: float) -> None:
        """Move the sandbox's clock."""
        await self._ledger.programs.AdvanceClock(
            program_pb2.AdvanceClockRequest(program=PROGRAM, time=at(days))
        )

    async def earn(self, points: int, member: str = MEMBER, **fields: Any) -> str:
        """Earn; answers the posting."""
        request = ledger_pb2.EarnRequest(**self._to(member), points=points, **fields)
        answer = await self._ledger.points.Earn(request)
        return str(answer.posting.posting)

    async def redeem(self, points: int, member: str = MEMBER) -> str:
        """Redeem; answers the posting."""
        request = ledger_pb2.RedeemRequest(**self._to(member), points=points)
        return str((await self._ledger.points.Redeem(request)).posting.posting)

    async def _create(self) -> None:
        settings = program_pb2.ProgramSettings()
        settings.program.auto_enrol = True
        settings.points.daily_cap = 100_000
        settings.points.pending_conversion = True
        settings.points.expiry_notice_days = 7
        settings.points.expiry.add(strategy="year", kind="FIXED", months=12, round_to="MONTH")
        settings.points.expiry.add(strategy="idle", kind="INACTIVITY", months=24)
        settings.points.default_expiry = "year"
        settings.redemption.conversion_rate = "0.01"
        settings.redemption.reversal = True
        settings.returns.policy = program_pb2.ReturnsSettings.ALLOW_DEBT
        settings.transfer.enabled = True
        settings.currencies.alternate = True
        settings.groups.enabled = True
        programs = self._ledger.programs
        await programs.CreateProgram(
            program_pb2.CreateProgramRequest(
                program=PROGRAM, sandbox=True, start_time=at(0), settings=settings
            )
        )
        await programs.CreateCurrency(
            program_pb2.CreateCurrencyRequest(program=PROGRAM, currency_id="miles")
        )
        await programs.CreateCounter(
            program_pb2.CreateCounterRequest(program=PROGRAM, counter_id="visits")
        )

    async def _earn_and_spend(self) -> None:
        points = self._ledger.points
        source = resources_pb2.Source(event="order-1", rule="base", rate="2")
        await self.earn(1_000, source=source, reference="order 1")
        await self.earn(500, expiry="idle", currency="miles")
        await self.earn(300, mature_time=at(20))
        await self.earn(200_000, member="greedy")
        await points.Adjust(ledger_pb2.AdjustRequest(**self._to(), points=50, reason="a gift"))
        await points.Adjust(ledger_pb2.AdjustRequest(**self._to(), points=-20, reason="a slip"))
        await points.Count(ledger_pb2.CountRequest(**self._to(), counter="visits", value=3))
        await self.redeem(120)
        await self.advance(21)

    async def _hold(self) -> None:
        points = self._ledger.points
        for number, end in enumerate(("capture", "release", "lapse", "stay")):
            answer = await points.CreateHold(
                ledger_pb2.CreateHoldRequest(
                    **self._to(), points=40 + number, expire_time=at(22 if end == "lapse" else 390)
                )
            )
            hold = answer.hold.hold
            if end == "capture":
                await points.CaptureHold(
                    ledger_pb2.CaptureHoldRequest(**self._to(), hold=hold, points=30)
                )
            elif end == "release":
                await points.ReleaseHold(ledger_pb2.ReleaseHoldRequest(**self._to(), hold=hold))
        await self.advance(23)

    async def _reverse(self) -> None:
        points = self._ledger.points
        earned = await self.earn(400)
        await self.redeem(900)
        spent = await self.redeem(100)
        for posting, some in ((earned, 150), (spent, 60), (earned, 250)):
            await points.ReversePosting(
                ledger_pb2.ReversePostingRequest(**self._to(), posting=posting, points=some)
            )
        counted = await points.Count(
            ledger_pb2.CountRequest(**self._to(), counter="visits", value=5)
        )
        await points.ReversePosting(
            ledger_pb2.ReversePostingRequest(**self._to(), posting=counted.posting.posting)
        )
        # Everything earned is taken back, and more than is left of it is owed.
        doomed = await self.earn(700)
        balance = await self._available()
        await self.redeem(balance)
        await points.ReversePosting(ledger_pb2.ReversePostingRequest(**self._to(), posting=doomed))
        await self.earn(2_000)

    async def _available(self) -> int:
        account = await self._ledger.points.GetAccount(
            ledger_pb2.GetAccountRequest(program=PROGRAM, member=MEMBER)
        )
        (balance,) = (each for each in account.balances if each.currency == "points")
        return int(balance.available)

    async def _transfer_and_freeze(self) -> None:
        points, members = self._ledger.points, self._ledger.members
        await self.earn(10, member=RECIPIENT)
        await points.TransferPoints(
            ledger_pb2.TransferPointsRequest(**self._to(), recipient=RECIPIENT, points=70)
        )
        await points.TransferPoints(
            ledger_pb2.TransferPointsRequest(**self._to(RECIPIENT), recipient=MEMBER, points=33)
        )
        await self.earn(80, mature_time=at(60))
        await points.ActivatePending(ledger_pb2.ActivatePendingRequest(**self._to()))
        await members.FreezeMember(
            account_pb2.FreezeMemberRequest(**self._to(), reason="a question")
        )
        await members.UnfreezeMember(
            account_pb2.UnfreezeMemberRequest(**self._to(), reason="answered")
        )
        await members.FreezeMember(
            account_pb2.FreezeMemberRequest(**self._to("greedy"), reason="too many points")
        )

    async def _join_and_leave(self) -> None:
        points, members = self._ledger.points, self._ledger.members
        rules = group_pb2.GroupRules(pooling=True, on_join=BRING, on_leave=TAKE_SHARE)
        rules.roles.add(role="parent", permissions=[REDEEM])
        await members.CreateGroup(
            group_pb2.CreateGroupRequest(
                program=PROGRAM,
                group="family",
                request_id="family",
                kind=resources_pb2.Account.GROUP,
                rules=rules,
            )
        )
        earned = await self.earn(600, member="cara")
        await self.earn(70, member="cara", mature_time=at(50))
        spent = await self.redeem(90, "cara")
        await members.AddGroupMember(
            group_pb2.AddGroupMemberRequest(**self._to("cara"), group="family", role="parent")
        )
        await self.earn(40, member="cara")
        await self.redeem(15, "cara")
        for posting, some in ((spent, 50), (earned, 100)):
            await points.ReversePosting(
                ledger_pb2.ReversePostingRequest(**self._to("cara"), posting=posting, points=some)
            )
        await members.RemoveGroupMember(
            group_pb2.RemoveGroupMemberRequest(**self._to("cara"), group="family")
        )

    async def _merge(self) -> None:
        await self.earn(30, member="ann")
        day = account_pb2.MemberChanges(billing_day=15)
        await self._ledger.members.UpdateMember(
            account_pb2.UpdateMemberRequest(program=PROGRAM, member="ann", changes=day)
        )
        await self.earn(220, member="dan")
        await self.earn(45, member="dan", expiry="idle")
        spent = await self.redeem(60, "dan")
        await self._ledger.members.MergeMembers(
            group_pb2.MergeMembersRequest(**self._to("dan"), into="ann", reason="the same person")
        )
        await self.earn(12, member="dan")
        await self._ledger.points.ReversePosting(
            ledger_pb2.ReversePostingRequest(**self._to("dan"), posting=spent, points=25)
        )

    async def _later(self) -> None:
        await self.earn(1_500)
        await self.earn(90, mature_time=at(520))
        await self.redeem(25)


@dataclass(frozen=True)
class Column:
    """A column of the catalogue."""

    table: str
    name: str
    type: str
    nullable: bool


@dataclass
class Intruder:
    """Has the superuser's connection, and took every CHECK out of the way."""

    rows: "Connection[asyncpg.Record]"
    kept: Kept
    # Where rows are that were changed and changed back.
    _moved: dict[tuple[str, object], object] = field(default_factory=dict)

    async def tables(self) -> list[str]:
        """The tables that keep anything of an account, from the catalogue."""
        found = await self.rows.fetch(
            """
            SELECT table_name FROM information_schema.columns
            WHERE table_schema = 'public'
                AND (column_name = 'account' OR table_name IN ('account', 'directory'))
            GROUP BY table_name ORDER BY table_name
            """
        )
        return [row[0] for row in found]

    async def columns(self, table: str) -> list[Column]:
        """The columns of a table, from the catalogue."""
        found = await self.rows.fetch(
            """
            SELECT column_name, udt_name, is_nullable = 'YES' FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position
            """,
            table,
        )
        return [Column(table, *row) for row in found]

    async def account(self, member: str = MEMBER) -> tuple[int, int]:
        """Where a member's account is."""
        row = await self.rows.fetchrow(
            """
            SELECT a.bucket, a.id FROM directory d
            JOIN account a ON a.bucket = d.bucket AND a.person = d.person
            WHERE d.member = $1
            """,
            member,
        )
        assert row is not None
        return row[0], row[1]

    async def some_rows(self, column: Column) -> list[asyncpg.Record]:
        """Rows that differ in a column: one of each member, and one where it is null."""
        # Places are taken again: what moved before is forgotten.
        self._moved.clear()
        keys = {"account": "a.id = t.id", "directory": "a.person = t.person"}
        whose = f"a.bucket = t.bucket AND {keys.get(column.table, 'a.id = t.account')}"
        found = await self.rows.fetch(
            f"""
            SELECT DISTINCT ON (t.{column.name} IS NULL, CASE WHEN t.{column.name} IS NULL THEN ''
                ELSE d.member END) t.ctid, t.*, d.member AS of_member
            FROM {column.table} t JOIN account a ON {whose}
            JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
            WHERE d.member = ANY($1)
            ORDER BY t.{column.name} IS NULL,
                CASE WHEN t.{column.name} IS NULL THEN '' ELSE d.member END, t.ctid DESC
            """,
            MEMBERS,
        )
        return list(found)

    @asynccontextmanager
    async def tampered(
        self, column: Column, row: asyncpg.Record, change: str
    ) -> AsyncIterator[None]:
        """A row with another value in a column, as long as the context lasts."""
        table, name = column.table, column.name
        there = None
        for number in (1, 101):
            value = change.format(c=name, n=number)
            with contextlib.suppress(asyncpg.UniqueViolationError):
                there = await self.rows.fetchval(
                    f"UPDATE {table} SET {name} = {value} WHERE ctid = $1 RETURNING ctid",
                    self._moved.get((table, row["ctid"]), row["ctid"]),
                )
                break
        assert there is not None
        try:
            yield
        finally:
            self._moved[table, row["ctid"]] = await self.rows.fetchval(
                f"UPDATE {table} SET {name} = $1 WHERE ctid = $2 RETURNING ctid", row[name], there
            )

    @asynccontextmanager
    async def exchanged(self, one: str, other: str) -> AsyncIterator[None]:
        """Two members with each other's accounts, as long as the context lasts."""
        await self._exchange(one, other)
        yield
        await self._exchange(one, other)

    async def _exchange(self, *members: str) -> None:
        find = "SELECT bucket, person FROM directory WHERE member = $1"
        places = [(await self.rows.fetch(find, member))[0] for member in members]
        write = "UPDATE directory SET bucket = $2, person = $3::bigint + $4 WHERE member = $1"
        # Numbers of people are unique, so that everybody is somebody else for a moment.
        for shift in (10**6, 0):
            for member, place in zip(members, reversed(places), strict=True):
                await self.rows.execute(write, member, *place, shift)

    async def findings(self, member: str = MEMBER) -> list[tuple[str, str]]:
        """What verifying says of a member: rows and fields."""
        answer = await self.kept.ledger.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program=PROGRAM, member=member)
        )
        return [(each.row, each.field) for each in answer.findings]

    async def findings_of_all(self, program: str = PROGRAM) -> list[tuple[str, str]]:
        """What verifying a program says of all accounts."""
        request = proof_pb2.VerifyProgramRequest(program=program)
        return [
            (each.row, each.field)
            async for part in self.kept.ledger.proof.VerifyProgram(request)
            for account in part.disagreeing
            for each in account.findings
        ]


@asynccontextmanager
async def intruding(kept: Kept, dsn: str) -> AsyncIterator[Intruder]:
    """Somebody with the superuser's address of the ledger's database."""
    connection = await asyncpg.connect(dsn)
    for row in await connection.fetch(
        """
        SELECT conrelid::regclass::text, conname FROM pg_constraint
        WHERE contype = 'c' AND connamespace = 'public'::regnamespace
        """
    ):
        await connection.execute(f"ALTER TABLE {row[0]} DROP CONSTRAINT {row[1]}")
    yield Intruder(connection, kept)
    await connection.close()

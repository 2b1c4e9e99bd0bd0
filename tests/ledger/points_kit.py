"""A sandbox program over a real server, short ways to move points in it, and what always holds."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.ledger.programs_kit import LedgerUnderTest

KIND = resources_pb2.Entry.Kind
CAUSE = ledger_pb2.ReversePostingRequest
START = datetime(2026, 1, 1, tzinfo=UTC)

_numbers = count(1)


def moment(instant: datetime) -> Timestamp:
    """An instant as a message."""
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


class Points:
    """One member of one sandbox program, whose clock begins at `START`."""

    def __init__(self, ledger: LedgerUnderTest, program: str = "p", member: str = "ada") -> None:
        self.ledger = ledger
        self.program = program
        self.member = member
        self.now = START

    async def begin(self, **settings: Any) -> "Points":
        """Make the program and enrol the member."""
        await self.ledger.create_program(
            self.program,
            sandbox=True,
            start_time=moment(START),
            settings=program_pb2.ProgramSettings(**settings),
        )
        await self.ledger.members.EnrolMember(
            account_pb2.EnrolMemberRequest(
                program=self.program, member=self.member, request_id="enrol"
            )
        )
        return self

    async def another(self, member: str) -> "Points":
        """Another member of the same program."""
        other = Points(self.ledger, self.program, member)
        other.now = self.now
        await self.ledger.members.EnrolMember(
            account_pb2.EnrolMemberRequest(program=self.program, member=member, request_id="enrol")
        )
        return other

    async def later(self, **by: float) -> None:
        """Let the program's time pass."""
        self.now += timedelta(**by)
        await self.ledger.programs.AdvanceClock(
            program_pb2.AdvanceClockRequest(program=self.program, time=moment(self.now))
        )

    def common(self, request_id: str = "") -> dict[str, Any]:
        """What every request of a writing method says."""
        request_id = request_id or f"r{next(_numbers)}"
        return {"program": self.program, "member": self.member, "request_id": request_id}

    async def earn(self, points: int, **more: Any) -> Any:
        """Earn."""
        return await self.ledger.points.Earn(
            ledger_pb2.EarnRequest(**{**self.common(), "points": points, **more})
        )

    async def redeem(self, points: int, **more: Any) -> Any:
        """Redeem."""
        return await self.ledger.points.Redeem(
            ledger_pb2.RedeemRequest(**{**self.common(), "points": points, **more})
        )

    async def hold(self, points: int, request_id: str = "", **more: Any) -> Any:
        """Set points aside."""
        return await self.ledger.points.CreateHold(
            ledger_pb2.CreateHoldRequest(**{**self.common(request_id), "points": points, **more})
        )

    async def capture(self, hold: str, request_id: str = "", **more: Any) -> Any:
        """Redeem held points."""
        return await self.ledger.points.CaptureHold(
            ledger_pb2.CaptureHoldRequest(**{**self.common(request_id), "hold": hold, **more})
        )

    async def release(self, hold: str, request_id: str = "", **more: Any) -> Any:
        """Give held points back."""
        return await self.ledger.points.ReleaseHold(
            ledger_pb2.ReleaseHoldRequest(**{**self.common(request_id), "hold": hold, **more})
        )

    async def reverse(self, posting: str, request_id: str = "", **more: Any) -> Any:
        """Reverse a posting."""
        return await self.ledger.points.ReversePosting(
            ledger_pb2.ReversePostingRequest(
                **{**self.common(request_id), "posting": posting, **more}
            )
        )

    async def activate(self, request_id: str = "", **more: Any) -> Any:
        """Mature pending points."""
        return await self.ledger.points.ActivatePending(
            ledger_pb2.ActivatePendingRequest(**{**self.common(request_id), **more})
        )

    async def quote(self, **more: Any) -> Any:
        """Ask what a redemption would be."""
        return await self.ledger.points.QuoteRedemption(
            ledger_pb2.QuoteRedemptionRequest(program=self.program, member=self.member, **more)
        )

    async def account(self) -> Any:
        """The account now."""
        return await self.ledger.points.GetAccount(
            ledger_pb2.GetAccountRequest(program=self.program, member=self.member)
        )

    async def entries(self) -> list[Any]:
        """All entries, oldest first."""
        listed = await self.ledger.points.ListEntries(
            ledger_pb2.ListEntriesRequest(program=self.program, member=self.member, page_size=1_000)
        )
        return list(reversed(listed.entries))

    async def four(self, currency: int = 0) -> tuple[int, int, int, int]:
        """Available, pending, held and owed points."""
        balance = (await self.account()).balances[currency]
        return balance.available, balance.pending, balance.held, balance.debt

    async def check(self) -> tuple[int, int, int, int]:
        """Assert what always holds of the account; the four numbers of the default currency."""
        account, lots, verified = await asyncio.gather(
            self.account(),
            self.ledger.points.ListLots(
                ledger_pb2.ListLotsRequest(
                    program=self.program, member=self.member, page_size=1_000
                )
            ),
            self.ledger.points.VerifyAccount(
                ledger_pb2.VerifyAccountRequest(program=self.program, member=self.member)
            ),
        )
        assert verified.ok, list(verified.findings)
        for balance in account.balances:
            assert_balance(balance, [lot for lot in lots.lots if lot.currency == balance.currency])
        first = account.balances[0]
        return first.available, first.pending, first.held, first.debt


def assert_balance(balance: Any, lots: list[Any]) -> None:
    """The identity of the running totals, and that the lots add up to the balance."""
    totals = balance.totals
    assert balance.available + balance.pending + balance.held - balance.debt == (
        totals.earned - totals.earning_reversed - totals.redeemed + totals.redemption_restored
        - totals.expired + totals.adjusted_in - totals.adjusted_out
        + totals.transferred_in - totals.transferred_out
    )  # fmt: skip
    assert min(balance.available, balance.pending, balance.held, balance.debt) >= 0
    assert not (balance.available and balance.debt)
    assert sum(lot.free for lot in lots) == balance.available + balance.pending
    assert sum(lot.held for lot in lots) == balance.held

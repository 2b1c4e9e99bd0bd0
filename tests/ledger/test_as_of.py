"""What a member had, asked later: as it was known then, and as it counts by then."""

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2
from testkit.postgres import TestPostgres
from tests.ledger.points_kit import START, Points, moment
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test, refusal
from tests.properties.effort import LONG, SEED

pytestmark = pytest.mark.shared_ledger

STEPS = 1_500 if LONG else 120
Do = Callable[[Points], Awaitable[Any]]


def settings() -> dict[str, Any]:
    points = program_pb2.PointsSettings(pending_conversion=True)
    points.expiry.add(strategy="days", kind="FIXED", days=9)
    points.expiry.add(strategy="idle", kind="INACTIVITY", months=1)
    returns = program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.Policy.ALLOW_DEBT)
    return {
        "points": points,
        "returns": returns,
        "redemption": program_pb2.RedemptionSettings(reversal=True),
        "transfer": program_pb2.TransferSettings(enabled=True),
    }


async def known(points: Points, instant: Any, member: str = "", **more: Any) -> Any:
    """The account as it was known at an instant."""
    return await points.ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(
            program=points.program,
            member=member or points.member,
            as_of=ledger_pb2.AsOf(record_time=moment(instant)),
            **more,
        )
    )


async def counted(points: Points, instant: Any) -> Any:
    """The account as it counts by an instant."""
    return await points.ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(
            program=points.program,
            member=points.member,
            as_of=ledger_pb2.AsOf(effective_time=moment(instant)),
        )
    )


def told(account: Any) -> Any:
    """What a member is told, but for how many settlements it took."""
    account.ClearField("sequence")
    return account


class Twins:
    """The same things are done in two sandboxes; one is read at every instant, one only jumps."""

    def __init__(self, ledger: LedgerUnderTest, dice: random.Random) -> None:
        self.read = [Points(ledger, "read", member) for member in ("ada", "bob")]
        self.jumps = [Points(ledger, "jumps", member) for member in ("ada", "bob")]
        self.dice = dice
        self.told: list[tuple[Any, int, Any]] = []
        self.postings: list[tuple[int, str, str]] = []
        self.holds: list[tuple[int, str, str]] = []

    async def begin(self) -> None:
        for pair in (self.read, self.jumps):
            await pair[0].begin(**settings())
            await pair[0].another("bob")

    async def note(self) -> None:
        """Remember what each member is told at this instant."""
        for place, points in enumerate(self.read):
            self.told.append((points.now, place, told(await points.account())))

    async def wait(self) -> None:
        """Let time pass: in steps, with a look at each, and in one jump."""
        for _ in range(self.dice.randrange(1, 4)):
            hours = self.dice.choice((1, 13, 24, 60, 200))
            await self.read[0].later(hours=hours)
            self.read[1].now = self.read[0].now
            await self.note()
        for points in self.jumps:
            points.now = self.read[0].now
        await self.jumps[0].later()

    async def do(self) -> None:
        """Something, to the same member of both."""
        dice = self.dice
        place = dice.randrange(2)
        points = dice.randrange(1, 90)
        soon = moment(self.read[0].now + timedelta(days=dice.randrange(1, 12)))
        back = moment(max(START, self.read[0].now - timedelta(days=dice.choice((0, 2, 15)))))
        choice = dice.randrange(10)
        if choice <= 3:
            made = await self.both(
                place,
                lambda twin: twin.earn(
                    points,
                    expiry=("days", "idle", "days", "")[choice],
                    effective_time=back,
                    mature_time=soon if points % 2 else None,
                ),
            )
            self.postings.append((place, *made))
        elif choice == 4:
            made = await self.both(place, lambda twin: twin.redeem(points, allow_partial=True))
            self.postings.append((place, *made))
        elif choice == 5:
            made = await self.both(place, lambda twin: twin.hold(points, expire_time=soon))
            self.holds.append((place, *made))
        elif choice == 6 and self.holds:
            place, *hold = self.holds.pop(dice.randrange(len(self.holds)))
            await self.each(place, hold, lambda twin, one: twin.capture(one, points=1))
        elif choice == 7 and self.postings:
            place, *posting = self.postings.pop(dice.randrange(len(self.postings)))
            await self.each(place, posting, lambda twin, one: twin.reverse(one))
        elif choice == 8:
            await self.both(place, lambda twin: transfer(twin, points, "ba"[place]))
        else:
            await self.both(place, lambda twin: twin.activate())

    async def both(self, place: int, do: Do) -> tuple[str, str]:
        made = [await outcome(do(pair[place])) for pair in (self.read, self.jumps)]
        assert (made[0] == "") == (made[1] == "")
        return made[0], made[1]

    async def each(self, place: int, ids: list[str], do: Callable[[Points, str], Any]) -> None:
        if not all(ids):
            return
        made = [
            await outcome(do(pair[place], one))
            for pair, one in zip((self.read, self.jumps), ids, strict=True)
        ]
        assert (made[0] == "") == (made[1] == "")


async def transfer(points: Points, amount: int, to: str) -> Any:
    request = ledger_pb2.TransferPointsRequest(
        points=amount, recipient={"a": "ada", "b": "bob"}[to]
    )
    for name, value in points.common().items():
        setattr(request, name, value)
    return await points.ledger.points.TransferPoints(request)


async def outcome(call: Any) -> str:
    """The posting that a call made, or nothing where it was refused."""
    try:
        answer = await call
    except Exception as error:
        if not hasattr(error, "trailing_metadata"):
            raise
        return ""
    return str(answer.posting.posting)


@pytest.mark.slow
async def test_what_was_told_is_known_later_whatever_was_recorded_since(
    postgres: TestPostgres,
) -> None:
    print(f"LOYALTY_TEST_SEED={SEED}")
    database = postgres.fresh("ledger")
    async with ledger_under_test(database) as ledger:
        await ledger.create_organization()
        twins = Twins(ledger, random.Random(SEED))
        await twins.begin()
        for _ in range(STEPS):
            await twins.do()
            if twins.dice.random() < 0.4:
                await twins.note()
                await twins.wait()
        await twins.note()
        last = {(instant, place): account for instant, place, account in twins.told}

        for (instant, place), account in last.items():
            for pair in (twins.read, twins.jumps):
                then = told(await known(pair[place], instant))
                account.program = then.program = "either"
                # A jump settles later what the other knew in time: versions and numbers are equal.
                assert then == account, (instant, place)
    postgres.drop(database.name)


async def test_nobody_was_a_member_before_enrolling_and_the_future_is_now(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin()
    await points.later(days=3)
    late = await points.another("bob")
    await points.earn(10)

    assert (await refusal(known(points, START - timedelta(days=1)))).reason == "MEMBER_NOT_FOUND"
    assert (await refusal(known(late, START + timedelta(days=1)))).reason == "MEMBER_NOT_FOUND"
    assert (await known(late, START + timedelta(days=3))).version == 1
    future = await known(points, START + timedelta(days=3000))
    assert future == await points.account()
    both = await ledger.points.BatchGetAccounts(
        ledger_pb2.BatchGetAccountsRequest(
            program="p",
            members=["ada", "bob"],
            as_of=ledger_pb2.AsOf(record_time=moment(START)),
        )
    )
    assert [account.member for account in both.accounts] == ["ada"]
    assert list(both.missing) == ["bob"]


@pytest.mark.own_ledger
async def test_asking_for_the_past_writes_nothing(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(**settings())
    await points.earn(10, expiry="days")
    await points.later(days=2)
    await points.redeem(4)
    await points.later(days=20)
    await points.account()
    before = await ledger.rows.fetch("SELECT bucket, sequence FROM head ORDER BY 1")

    expired = await known(points, START + timedelta(days=9))
    alive = await known(points, START + timedelta(days=9) - timedelta(microseconds=1))

    assert (expired.balances[0].available, expired.balances[0].totals.expired) == (0, 6)
    assert alive.balances[0].available == 6
    assert await ledger.rows.fetch("SELECT bucket, sequence FROM head ORDER BY 1") == before


async def test_late_events_count_on_their_own_date_and_were_not_known_then(
    ledger: LedgerUnderTest,
) -> None:
    points = await Points(ledger).begin()
    await points.later(days=10)
    await points.earn(10)
    await points.later(days=10)
    await points.earn(7, effective_time=moment(START + timedelta(days=5)))
    await points.redeem(3)

    def available(account: Any) -> int:
        return int(account.balances[0].available)

    by = [available(await counted(points, START + timedelta(days=day))) for day in (4, 5, 10, 20)]
    told_then = [
        available(await known(points, START + timedelta(days=day))) for day in (5, 10, 19, 20)
    ]

    assert by == [0, 7, 17, 14]
    assert told_then == [0, 10, 10, 14]
    totals = (await counted(points, START + timedelta(days=20))).balances[0].totals
    assert (totals.earned, totals.redeemed) == (17, 3)
    early = await refusal(counted(points, START - timedelta(days=1)))
    assert early.reason == "MEMBER_NOT_FOUND"


async def test_a_merged_member_is_known_where_its_points_were(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin()
    other = await points.another("bob")
    await points.earn(10)
    await other.earn(5)
    await points.later(days=2)
    await ledger.members.MergeMembers(
        group_pb2.MergeMembersRequest(program="p", member="ada", request_id="merge", into="bob")
    )
    await points.later(days=2)

    before = await known(points, START + timedelta(days=1))
    after = await known(points, START + timedelta(days=3))

    assert (before.member, before.balances[0].available) == ("ada", 10)
    assert (after.member, after.addressed_member) == ("bob", "ada")
    assert after.balances[0].available == 15
    own = await known(points, START + timedelta(days=3), own=True)
    assert own.balances[0].available == 0
    count_after = await counted(points, START + timedelta(days=3))
    assert count_after.balances[0].available == 15


async def test_an_instant_is_required(ledger: LedgerUnderTest) -> None:
    await Points(ledger).begin()

    refused = await refusal(
        ledger.points.GetAccount(
            ledger_pb2.GetAccountRequest(program="p", member="ada", as_of=ledger_pb2.AsOf())
        )
    )

    assert refused.reason == "INVALID_FIELD"

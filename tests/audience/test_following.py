"""Profiles follow the ledger and the tiers: every change once, whatever happens on the way."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import program_pb2, resources_pb2
from services.audience.__main__ import opened
from services.audience.__main__ import running as audience_process
from services.audience.domain.profile import (
    EntriesMissing,
    Holding,
    Kind,
    Line,
    Posting,
    Profile,
    apply_posting,
)
from services.audience.operations import follow
from services.audience.peers.ledger import PostingFact
from services.audience.peers.tiers import TierFact, TierMove
from services.audience.store import cursors
from testkit import keys
from tests.audience.audience_kit import (
    AUTO_ENROL,
    AudienceUnderTest,
    available,
    eventually,
    standing,
    values,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def line(sequence: int, kind: Kind, points: int, after: int, days: int = 0) -> Line:
    return Line(sequence, kind, "points", points, after, after, T0 + timedelta(days=days))


def posting(*lines: Line, member: str = "m1") -> Posting:
    return Posting("acme", "p1", member, lines)


def earned(bucket: int, sequence: int, number: int, points: int, after: int) -> PostingFact:
    """A posting that is one earning; `number` is its entry's."""
    return PostingFact(bucket, sequence, posting(line(number, Kind.EARNED, points, after)))


class Broken(Exception):
    """The process dies here."""


def test_a_profile_adds_up_what_was_earned_and_keeps_what_is_left() -> None:
    enrolled = Line(1, Kind.ENROLLED, "", 0, 0, 0, T0)
    profile = apply_posting(Profile(tier="gold"), posting(enrolled, line(2, Kind.EARNED, 70, 70)))
    profile = apply_posting(profile, posting(line(3, Kind.REDEEMED, -50, 20, days=2)))
    profile = apply_posting(profile, posting(line(4, Kind.EARNED, 5, 25, days=1)))
    profile = apply_posting(profile, posting(line(5, Kind.OTHER, -25, 0, days=9)))

    assert profile == Profile(
        5, {"points": Holding(0, 0, 75, 75)}, "gold", T0 + timedelta(days=2), T0
    )


def test_an_entry_that_is_in_a_profile_counts_once() -> None:
    first = posting(line(1, Kind.EARNED, 10, 10), line(2, Kind.EARNED, 5, 15))
    profile = apply_posting(Profile(), first)

    assert apply_posting(profile, first) is profile
    assert apply_posting(profile, posting(line(1, Kind.EARNED, 10, 10))) is profile


def test_entries_that_are_left_out_are_not_passed_over() -> None:
    with pytest.raises(EntriesMissing):
        apply_posting(Profile(3), posting(line(5, Kind.EARNED, 10, 10)))


async def test_an_earning_is_seen_within_a_second(suite: AudienceUnderTest) -> None:
    await suite.create("rich", available(100))
    await suite.enrol("m1")
    await suite.settled()
    took: list[float] = []

    for _ in range(3):
        before = await suite.check("rich", "m1")
        await suite.earn("m1", 40)
        began = time.monotonic()

        async def moved(known: Any = before) -> bool:
            return values(await suite.check("rich", "m1")) != values(known)

        await eventually(moved)
        took.append(time.monotonic() - began)

    # The machine is not this test's alone: what nobody was told of would never be seen so soon.
    assert min(took) < 1.0, took
    assert values(await suite.check("rich", "m1")) == [(True, 120, "")]


async def test_every_kind_of_posting_leaves_the_profile_as_the_ledger_has_it(
    suite: AudienceUnderTest,
) -> None:
    dice = random.Random(7)
    await suite.enrol("quiet")
    for _ in range(120):
        member = f"m{dice.randrange(12)}"
        match dice.randrange(4):
            case 0:
                await suite.redeem_what_is_there(member)
            case 1:
                await suite.adjust(member, dice.choice((30, -10)))
            case _:
                await suite.earn(member, dice.randrange(1, 100))
    await suite.settled()

    await suite.assert_profiles_agree()


async def test_points_that_expire_in_a_sandbox_leave_the_profile(
    suite: AudienceUnderTest,
) -> None:
    settings = program_pb2.ProgramSettings()
    settings.CopyFrom(AUTO_ENROL)
    settings.points.expiry.add(strategy="soon", kind=resources_pb2.ExpiryStrategy.FIXED, days=10)
    settings.points.default_expiry = "soon"
    start = datetime(2001, 1, 1, tzinfo=UTC)
    created = program_pb2.CreateProgramRequest(program="box", sandbox=True, settings=settings)
    created.start_time.FromDatetime(start)
    await suite.ledger.programs.CreateProgram(created)
    await suite.earn("m1", 100, "box")
    await suite.create("rich", available(1), program="box")
    moved = program_pb2.AdvanceClockRequest(program="box")
    moved.time.FromDatetime(start + timedelta(days=11))
    await suite.ledger.programs.AdvanceClock(moved)
    await suite.settled()

    checked = await suite.check("rich", "m1", "box")

    assert values(checked) == [(False, 0, "")]
    assert (await suite.profiles())["m1"][1] == [0, 0, 100, 100]


async def test_currencies_are_kept_apart(suite: AudienceUnderTest) -> None:
    await suite.earn("m1", 10)
    await suite.settled()
    await suite.add_currency("miles")
    await suite.add_currency("cash")
    # Currencies get their places as they are heard of, and of two members either may be first.
    await suite.earn("m1", 7, currency="miles")
    await suite.settled()
    await suite.earn("m2", 5, currency="cash")
    await suite.earn("m1", 3)
    await suite.settled()

    profiles = await suite.profiles()
    # A place that nobody needed yet is empty or missing.
    assert {
        name: (row[0], tuple(row[1][:12]) + (0,) * (12 - len(row[1])))
        for name, row in profiles.items()
    } == {
        "m1": (4, (13, 13, 13, 13, 7, 7, 7, 7, 0, 0, 0, 0)),
        "m2": (2, (0, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 5)),
    }


async def test_a_tier_follows_the_tiers(suite: AudienceUnderTest) -> None:
    await suite.create("best", standing("gold", "platinum"))
    await suite.earn("m1", 1)
    suite.tiers.move("m1", "silver")
    suite.tiers.move("first-heard-of-by-tiers", "gold")
    await suite.settled()
    before = await suite.check("best", "m1")
    suite.tiers.move("m1", "gold")
    await suite.settled()

    assert values(before) == [(False, 0, "silver")]
    assert values(await suite.check("best", "m1")) == [(True, 0, "gold")]
    assert await suite.members("best") == ["m1"]
    await suite.earn("first-heard-of-by-tiers", 1)
    await suite.settled()
    assert await suite.members("best") == ["first-heard-of-by-tiers", "m1"]
    assert (await suite.profiles())["m1"] == (2, [1, 1, 1, 1], "gold")


async def test_with_the_tiers_down_the_ledger_is_followed_and_the_other_way_round(
    suite: AudienceUnderTest, postgres: Any
) -> None:
    database = postgres.fresh("audience")
    nobody = replace_ports(suite, tiers_address="127.0.0.1:9", database=database)
    async with audience_process(nobody, keys.issuer()) as context:
        await suite.earn("m1", 5)

        async def counted() -> bool:
            return context.progress["ledger"].applied >= 1

        await eventually(counted)
        assert context.progress["tiers"].applied == 0
        assert context.freshness() is None
    other = replace_ports(suite, ledger_address="127.0.0.1:9", database=database)
    async with audience_process(other, keys.issuer()) as context:
        suite.tiers.move("m1", "gold")

        async def stood() -> bool:
            return context.progress["tiers"].applied == 1

        await eventually(stood)


def replace_ports(suite: AudienceUnderTest, *, database: Any, **addresses: str) -> Any:
    return suite.settings.model_copy(
        update={
            "audience_dsn": database.dsn,
            "audience_migration_dsn": database.owner_dsn,
            **addresses,
        }
    )


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
async def test_a_crash_around_the_commit_loses_nothing_and_doubles_nothing(
    suite: AudienceUnderTest, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    """Effects are written and the commit fails; or it succeeds and nobody hears of it."""
    crashes = 0
    save, count = cursors.save, suite.context.progress["ledger"].count

    async def crash_before(*arguments: Any) -> None:
        nonlocal crashes
        await save(*arguments)
        if crashes < 3:
            crashes += 1
            raise Broken

    def crash_after(changes: int) -> None:
        nonlocal crashes
        if crashes < 3:
            crashes += 1
            raise Broken
        count(changes)

    if committed:
        monkeypatch.setattr(suite.context.progress["ledger"], "count", crash_after)
    else:
        monkeypatch.setattr(cursors, "save", crash_before)

    for _ in range(4):
        await suite.earn_many([(f"m{number}", 10) for number in range(20)])
        await asyncio.sleep(0.05)
    await suite.settled()

    assert crashes == 3
    assert {each[1][2] for each in (await suite.profiles()).values()} == {40}
    await suite.assert_profiles_agree()


async def test_changes_that_come_twice_count_once(suite: AudienceUnderTest, postgres: Any) -> None:
    database = postgres.fresh("audience")
    settings = replace_ports(suite, database=database)
    facts = [earned(0, number, number, 10, number * 10) for number in range(1, 41)]
    async with opened(settings, keys.issuer()) as context:
        for start, end in ((0, 10), (0, 20), (5, 15), (0, 40), (39, 40)):
            await follow.apply_postings(context, facts[start:end], {0: end})
        async with context.pools.reads.acquire(timeout=5) as connection:
            amounts = await connection.fetchval("SELECT amounts FROM profile")
            stored = await cursors.load(connection, "ledger")

    assert amounts == [400, 400, 400, 400]
    assert stored == {0: 40}


async def test_several_followers_of_one_stream_apply_each_change_once(
    suite: AudienceUnderTest,
) -> None:
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(audience_process(suite.settings, keys.issuer()))
            for _ in range(2)
        ]
        for _ in range(5):
            await suite.earn_many([(f"m{number % 30}", 1) for number in range(300)])
            suite.tiers.move("m1", "gold")
        await suite.settled()
        contexts = [suite.context, *others]

        async def told() -> bool:
            return sum(each.progress["ledger"].applied for each in contexts) >= 1501

        await eventually(told)
        # One change is the program's own.
        assert sum(each.progress["ledger"].applied for each in contexts) == 1501
        assert sum(each.progress["tiers"].applied for each in contexts) == 5
    await suite.assert_profiles_agree()


async def test_followers_of_two_streams_never_block_each_other(
    suite: AudienceUnderTest, postgres: Any
) -> None:
    """Both write the same new members, in whatever order the changes come."""
    settings = replace_ports(suite, database=postgres.fresh("audience"))
    dice = random.Random(3)
    members = [f"m{number}" for number in range(200)]

    def shuffled(names: Sequence[str]) -> list[str]:
        return dice.sample(list(names), len(names))

    async with opened(settings, keys.issuer()) as context:

        async def postings() -> None:
            for turn in range(15):
                facts = [
                    PostingFact(
                        0,
                        turn * 200 + place + 1,
                        replace(posting(line(turn + 1, Kind.EARNED, 1, turn + 1)), member=member),
                    )
                    for place, member in enumerate(shuffled(members))
                ]
                await follow.apply_postings(context, facts, {0: turn * 200 + 200})

        async def moves() -> None:
            for turn in range(15):
                facts = [
                    TierFact(0, turn * 200 + place + 1, TierMove("acme", "p1", member, f"t{turn}"))
                    for place, member in enumerate(shuffled(members))
                ]
                await follow.apply_tiers(context, facts, {0: turn * 200 + 200})

        await asyncio.gather(postings(), moves())
        async with context.pools.reads.acquire(timeout=5) as connection:
            rows = await connection.fetch("SELECT DISTINCT sequence, amounts, tier FROM profile")

    assert [tuple(row) for row in rows] == [(15, [15, 15, 15, 15], "t14")]


async def test_a_service_that_starts_late_catches_up_quickly(
    suite: AudienceUnderTest, postgres: Any
) -> None:
    """Prints the rate; the ledger serves from the same event loop, so this is a lower bound.

    By the processor's time: the machine may be busy with others.
    """
    postings = 6_000
    await suite.earn_many([(f"m{number % 1500}", 1) for number in range(postings)])
    database = postgres.fresh("audience")
    settings = replace_ports(suite, database=database)
    began = time.process_time()
    async with audience_process(settings, keys.issuer()) as context:

        async def done() -> bool:
            return context.progress["ledger"].applied >= postings + 1

        await eventually(done, 60)
        rate = postings / (time.process_time() - began)
    print(f"caught up at {rate:,.0f} postings a second")

    assert rate > 1_000


async def test_how_far_a_stream_was_is_remembered(suite: AudienceUnderTest) -> None:
    await suite.earn("m1", 1)
    await suite.settled()

    async def known() -> bool:
        rows = await suite.rows.fetch("SELECT stream FROM followed_time ORDER BY stream")
        return [row[0] for row in rows] == ["ledger", "tiers"]

    await eventually(known)
    async with opened(suite.settings, keys.issuer()) as context:
        for stream in ("ledger", "tiers"):
            await follow.load_cursors(context, stream)
        freshness = context.freshness()

    assert freshness is not None
    assert timedelta(0) <= freshness.lag < timedelta(seconds=30)

"""The clock of a sandbox: forward only, everything due is met, and a cut-off call is resumed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest

from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, resources_pb2
from services.ledger.operations import advance_clock
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest, at, ledger_under_test, refusal


@pytest.fixture
async def recorded(ledger_database: TestDatabase) -> AsyncIterator[LedgerUnderTest]:
    """A ledger whose due accounts are given to a settler that remembers."""
    async with ledger_under_test(ledger_database, recording=True) as served:
        await served.create_organization()
        yield served


_INSERT_DUE = """
INSERT INTO account (bucket, id, program, person, state, sandbox, version, sequence, digest,
    enrol_time, record_time, next_due_time)
SELECT n % 8, n, p.key, n, 1, p.sandbox, 0, 1, '', $2, $2, $3
FROM generate_series($4::bigint, $5::bigint) n, program p WHERE p.id = $1
"""


async def due(ledger: LedgerUnderTest, program: str, when: datetime, first: int, last: int) -> None:
    """Accounts from `first` to `last` with something due at a time."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    await ledger.rows.execute(_INSERT_DUE, program, began, when, first, last)


async def advance(ledger: LedgerUnderTest, year: int, month: int = 1) -> tuple[int, int]:
    """Advance `p1`; (year of its now, accounts settled)."""
    answer = await ledger.programs.AdvanceClock(
        program_pb2.AdvanceClockRequest(program="p1", time=at(year, month))
    )
    return answer.time.ToDatetime().year, answer.settled_accounts


async def test_the_clock_moves_forward_and_everything_due_is_settled(
    recorded: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance_clock, "CHUNK", 4)
    await recorded.create_program("p1", sandbox=True, start_time=at(2026))
    await recorded.create_program("p2", sandbox=True, start_time=at(2026))
    await due(recorded, "p1", datetime(2026, 6, 1, tzinfo=UTC), 1, 7)
    await due(recorded, "p1", datetime(2027, 1, 1, tzinfo=UTC), 8, 10)
    await due(recorded, "p1", datetime(2027, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 11, 12)
    await due(recorded, "p2", datetime(2026, 6, 1, tzinfo=UTC), 13, 14)

    moved = await advance(recorded, 2027)

    met = [account for call in recorded.settler.calls for _, account in call]
    assert moved == (2027, 10)
    assert met == list(range(1, 11))
    assert max(len(call) for call in recorded.settler.calls) == 4


async def test_the_clock_does_not_go_back(recorded: LedgerUnderTest) -> None:
    await recorded.create_program("p1", sandbox=True, start_time=at(2026))
    await advance(recorded, 2027)

    same = await advance(recorded, 2027)
    refused = await refusal(
        recorded.programs.AdvanceClock(
            program_pb2.AdvanceClockRequest(program="p1", time=at(2026, 12))
        )
    )

    assert same == (2027, 0)
    assert (refused.code, refused.reason, refused.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CLOCK_GOES_BACK",
        {"now": "2027-01-01T00:00:00Z"},
    )


async def test_only_a_sandbox_has_a_clock(recorded: LedgerUnderTest) -> None:
    await recorded.create_program("p1")
    calls = [
        recorded.programs.AdvanceClock(
            program_pb2.AdvanceClockRequest(program="p1", time=at(2100))
        ),
        recorded.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2100))),
        recorded.clock.GetNextDue(clock_pb2.GetNextDueRequest(program="p1")),
    ]

    reasons = [(await refusal(call)).reason for call in calls]

    assert reasons == ["NOT_SANDBOX"] * 3


async def test_a_call_that_was_cut_short_is_resumed_by_the_same_time(
    recorded: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance_clock, "CHUNK", 3)
    await recorded.create_program("p1", sandbox=True, start_time=at(2026))
    await due(recorded, "p1", datetime(2026, 6, 1, tzinfo=UTC), 1, 8)
    recorded.settler.fails_after = 1

    broken = await refusal(advance(recorded, 2027))
    recorded.settler.fails_after = None
    now = (await recorded.programs.GetProgram(program_pb2.GetProgramRequest(program="p1"))).now
    resumed = await advance(recorded, 2027)

    assert broken.reason == "FAULT"
    assert now == at(2027)
    assert resumed == (2027, 5)


async def test_of_racing_calls_the_clock_shows_the_latest(recorded: LedgerUnderTest) -> None:
    await recorded.create_program("p1", sandbox=True, start_time=at(2026))

    await asyncio.gather(
        *[advance(recorded, year) for year in range(2027, 2035)], return_exceptions=True
    )
    found = await recorded.programs.GetProgram(program_pb2.GetProgramRequest(program="p1"))

    assert found.now == at(2034)


async def test_catching_up_to_the_past_stays_and_does_what_is_due(
    recorded: LedgerUnderTest,
) -> None:
    await recorded.create_program("p1", sandbox=True, start_time=at(2028))
    await due(recorded, "p1", datetime(2027, 6, 1, tzinfo=UTC), 1, 2)

    past = await recorded.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2026)))
    onward = await recorded.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2029)))

    assert (past.time, past.done) == (at(2028), 2)
    assert (onward.time, onward.done) == (at(2029), 0)


async def test_the_next_due_time_is_the_earliest_after_now(recorded: LedgerUnderTest) -> None:
    await recorded.create_program("p1", sandbox=True, start_time=at(2026))
    request = clock_pb2.GetNextDueRequest(program="p1")
    nothing = await recorded.clock.GetNextDue(request)
    await due(recorded, "p1", datetime(2028, 1, 1, tzinfo=UTC), 1, 2)
    await due(recorded, "p1", datetime(2027, 1, 1, tzinfo=UTC), 3, 3)

    first = await recorded.clock.GetNextDue(request)
    await advance(recorded, 2027)
    second = await recorded.clock.GetNextDue(request)
    await advance(recorded, 2028)
    last = await recorded.clock.GetNextDue(request)

    assert not nothing.HasField("time")
    assert (first.time, second.time) == (at(2027), at(2028))
    assert not last.HasField("time")


async def test_a_sandbox_expires_in_a_call_what_expires_in_a_year(ledger: LedgerUnderTest) -> None:
    year = resources_pb2.ExpiryStrategy(
        strategy="year", kind=resources_pb2.ExpiryStrategy.FIXED, months=12
    )
    await ledger.create_program(
        "p1",
        sandbox=True,
        start_time=at(2026),
        settings=program_pb2.ProgramSettings(
            program=program_pb2.GeneralSettings(auto_enrol=True),
            points=program_pb2.PointsSettings(expiry=[year]),
        ),
    )
    for month in (1, 3, 6):
        await advance(ledger, 2026, month)
        for member in ("ann", "bob"):
            await ledger.points.Earn(
                ledger_pb2.EarnRequest(
                    program="p1", member=member, request_id=f"r{month}", points=100
                )
            )

    seen = []
    while True:
        due_next = await ledger.clock.GetNextDue(clock_pb2.GetNextDueRequest(program="p1"))
        if not due_next.HasField("time"):
            break
        answer = await ledger.clock.CatchUp(
            clock_pb2.CatchUpRequest(program="p1", time=due_next.time)
        )
        account = await ledger.points.GetAccount(
            ledger_pb2.GetAccountRequest(program="p1", member="ann")
        )
        when = due_next.time.ToDatetime()
        seen.append((when.year, when.month, answer.done, account.balances[0].available))

    rows = await ledger.rows.fetch(
        "SELECT effective_time, -points AS points FROM entry WHERE points < 0 ORDER BY 1"
    )
    assert [step for step in seen if step[2]] == [
        (2027, 1, 2, 200),
        (2027, 3, 2, 100),
        (2027, 6, 2, 0),
    ]
    assert [(row["effective_time"].month, row["points"]) for row in rows] == [
        (1, 100),
        (1, 100),
        (3, 100),
        (3, 100),
        (6, 100),
        (6, 100),
    ]


async def test_the_clock_can_leap_over_many_due_times_at_once(ledger: LedgerUnderTest) -> None:
    idle = resources_pb2.ExpiryStrategy(
        strategy="idle", kind=resources_pb2.ExpiryStrategy.INACTIVITY, months=6
    )
    await ledger.create_program(
        "p1",
        sandbox=True,
        start_time=at(2026),
        settings=program_pb2.ProgramSettings(points=program_pb2.PointsSettings(expiry=[idle])),
    )
    for number in range(20):
        member = f"m{number}"
        await ledger.members.EnrolMember(
            account_pb2.EnrolMemberRequest(program="p1", member=member, request_id="enrol")
        )
        await ledger.points.Earn(
            ledger_pb2.EarnRequest(program="p1", member=member, request_id="earn", points=5)
        )

    moved = await advance(ledger, 2030)
    again = await advance(ledger, 2030)
    left = await ledger.rows.fetchval("SELECT sum(available) FROM balance")

    assert (moved, again) == ((2030, 20), (2030, 0))
    assert left == 0


async def test_a_clock_that_moves_under_load_leaves_a_book_that_agrees(
    ledger: LedgerUnderTest,
) -> None:
    soon = resources_pb2.ExpiryStrategy(
        strategy="soon", kind=resources_pb2.ExpiryStrategy.FIXED, days=20
    )
    await ledger.create_program(
        "p1",
        sandbox=True,
        start_time=at(2026),
        settings=program_pb2.ProgramSettings(
            program=program_pb2.GeneralSettings(auto_enrol=True),
            points=program_pb2.PointsSettings(expiry=[soon]),
        ),
    )

    async def earn(caller: int) -> None:
        for number in range(40):
            await ledger.points.Earn(
                ledger_pb2.EarnRequest(
                    program="p1",
                    member=f"m{(caller + number) % 10}",
                    request_id=f"{caller}-{number}",
                    points=10,
                )
            )

    callers = [asyncio.ensure_future(earn(caller)) for caller in range(6)]
    for month in range(1, 13):
        await advance(ledger, 2026, month)
        await asyncio.sleep(0.02)
    await asyncio.gather(*callers)
    await advance(ledger, 2027, 6)

    verified = [
        await ledger.points.VerifyAccount(
            ledger_pb2.VerifyAccountRequest(program="p1", member=f"m{number}")
        )
        for number in range(10)
    ]
    totals = await ledger.rows.fetchrow("SELECT sum(earned), sum(expired) FROM balance")
    streams = await ledger.rows.fetch(
        """
        SELECT count(*) AS published, max(sequence) AS last
        FROM (SELECT bucket, sequence FROM posting
            UNION ALL SELECT bucket, sequence FROM program_change) s
        GROUP BY bucket
        """
    )

    assert all(account.ok for account in verified), verified
    assert list(totals or ()) == [2_400, 2_400]
    assert [row["published"] for row in streams] == [row["last"] for row in streams]

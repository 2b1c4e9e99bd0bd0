"""The clock of a sandbox: forward only, everything due is met, and a cut-off call is resumed."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest

from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import program_pb2
from services.ledger.operations import advance_clock
from tests.ledger.programs_kit import LedgerUnderTest, at, refusal

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
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance_clock, "CHUNK", 4)
    await ledger.create_program("p1", sandbox=True, start_time=at(2026))
    await ledger.create_program("p2", sandbox=True, start_time=at(2026))
    await due(ledger, "p1", datetime(2026, 6, 1, tzinfo=UTC), 1, 7)
    await due(ledger, "p1", datetime(2027, 1, 1, tzinfo=UTC), 8, 10)
    await due(ledger, "p1", datetime(2027, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 11, 12)
    await due(ledger, "p2", datetime(2026, 6, 1, tzinfo=UTC), 13, 14)

    moved = await advance(ledger, 2027)

    met = [account for call in ledger.settler.calls for _, account in call]
    assert moved == (2027, 10)
    assert met == list(range(1, 11))
    assert max(len(call) for call in ledger.settler.calls) == 4


async def test_the_clock_does_not_go_back(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", sandbox=True, start_time=at(2026))
    await advance(ledger, 2027)

    same = await advance(ledger, 2027)
    refused = await refusal(
        ledger.programs.AdvanceClock(
            program_pb2.AdvanceClockRequest(program="p1", time=at(2026, 12))
        )
    )

    assert same == (2027, 0)
    assert (refused.code, refused.reason, refused.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CLOCK_GOES_BACK",
        {"now": "2027-01-01T00:00:00Z"},
    )


async def test_only_a_sandbox_has_a_clock(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    calls = [
        ledger.programs.AdvanceClock(program_pb2.AdvanceClockRequest(program="p1", time=at(2100))),
        ledger.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2100))),
        ledger.clock.GetNextDue(clock_pb2.GetNextDueRequest(program="p1")),
    ]

    reasons = [(await refusal(call)).reason for call in calls]

    assert reasons == ["NOT_SANDBOX"] * 3


async def test_a_call_that_was_cut_short_is_resumed_by_the_same_time(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance_clock, "CHUNK", 3)
    await ledger.create_program("p1", sandbox=True, start_time=at(2026))
    await due(ledger, "p1", datetime(2026, 6, 1, tzinfo=UTC), 1, 8)
    ledger.settler.fails_after = 1

    broken = await refusal(advance(ledger, 2027))
    ledger.settler.fails_after = None
    now = (await ledger.programs.GetProgram(program_pb2.GetProgramRequest(program="p1"))).now
    resumed = await advance(ledger, 2027)

    assert broken.reason == "FAULT"
    assert now == at(2027)
    assert resumed == (2027, 5)


async def test_of_racing_calls_the_clock_shows_the_latest(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", sandbox=True, start_time=at(2026))

    await asyncio.gather(
        *[advance(ledger, year) for year in range(2027, 2035)], return_exceptions=True
    )
    found = await ledger.programs.GetProgram(program_pb2.GetProgramRequest(program="p1"))

    assert found.now == at(2034)


async def test_catching_up_to_the_past_stays_and_does_what_is_due(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", sandbox=True, start_time=at(2028))
    await due(ledger, "p1", datetime(2027, 6, 1, tzinfo=UTC), 1, 2)

    past = await ledger.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2026)))
    onward = await ledger.clock.CatchUp(clock_pb2.CatchUpRequest(program="p1", time=at(2029)))

    assert (past.time, past.done) == (at(2028), 2)
    assert (onward.time, onward.done) == (at(2029), 0)


async def test_the_next_due_time_is_the_earliest_after_now(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", sandbox=True, start_time=at(2026))
    request = clock_pb2.GetNextDueRequest(program="p1")
    nothing = await ledger.clock.GetNextDue(request)
    await due(ledger, "p1", datetime(2028, 1, 1, tzinfo=UTC), 1, 2)
    await due(ledger, "p1", datetime(2027, 1, 1, tzinfo=UTC), 3, 3)

    first = await ledger.clock.GetNextDue(request)
    await advance(ledger, 2027)
    second = await ledger.clock.GetNextDue(request)
    await advance(ledger, 2028)
    last = await ledger.clock.GetNextDue(request)

    assert not nothing.HasField("time")
    assert (first.time, second.time) == (at(2027), at(2028))
    assert not last.HasField("time")

"""The event log as it is read."""

from datetime import timedelta

import pytest

from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import program_pb2
from loyalty.rules.v1 import events_pb2
from tests.ledger.programs_kit import refusal
from tests.rules.kit import PROGRAM, START, Suite, event, purchase, stamp

SENT = [
    event("e0", "page_view", "m1"),
    purchase("e1", "m2"),
    event("e2", "search", "m1"),
    event("e3", "page_view", "m2"),
    purchase("e4", "m1"),
    event("e5", "page_view", "m1"),
    event("e6", "page_view", "m1"),
]
FILTERS = {
    "all": ({}, ["e6", "e5", "e4", "e3", "e2", "e1", "e0"]),
    "a member's": ({"member": "m1"}, ["e6", "e5", "e4", "e2", "e0"]),
    "a type's": ({"type": "page_view"}, ["e6", "e5", "e3", "e0"]),
    "both": ({"member": "m1", "type": "page_view"}, ["e6", "e5", "e0"]),
    "none": ({"member": "m3"}, []),
}


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("case", FILTERS)
async def test_events_are_listed_the_latest_first(shared: Suite, case: str, size: int) -> None:
    wanted, expected = FILTERS[case]
    await shared.rules.batch(SENT)
    found: list[str] = []
    token = ""
    while True:
        page = await shared.rules.events.ListEvents(
            events_pb2.ListEventsRequest(
                program=PROGRAM, page_size=size, page_token=token, **wanted
            )
        )
        found += [each.event.id for each in page.events]
        token = page.next_page_token
        if not token:
            break

    assert found == expected


async def test_a_token_belongs_to_its_query(shared: Suite) -> None:
    await shared.rules.batch(SENT)
    page = await shared.rules.events.ListEvents(
        events_pb2.ListEventsRequest(program=PROGRAM, page_size=1)
    )
    other = shared.rules.events.ListEvents(
        events_pb2.ListEventsRequest(
            program=PROGRAM, page_size=1, member="m1", page_token=page.next_page_token
        )
    )

    assert (await refusal(other)).reason == "INVALID_PAGE_TOKEN"


async def test_an_event_is_kept_with_everything_that_came_with_it(shared: Suite) -> None:
    sent = purchase(
        "whole",
        "m9",
        when=START - timedelta(days=1),
        store="s",
        channel="web",
        attributes={"a": "1", "b": "2"},
    )
    submitted = await shared.rules.submit(sent)

    kept = await shared.rules.get("whole")

    assert kept.event == sent
    assert kept.posting == submitted.posting
    assert kept.trace == submitted.trace
    assert not kept.HasField("account")
    assert not kept.HasField("membership")
    assert not kept.replayed


async def test_an_event_that_was_never_sent_is_not_found(shared: Suite) -> None:
    refused = await refusal(shared.rules.get("nothing"))

    assert (refused.reason, refused.metadata) == ("EVENT_NOT_FOUND", {"event": "nothing"})


async def test_a_program_without_events_has_none(shared: Suite) -> None:
    await shared.create_program("quiet")
    page = await shared.rules.events.ListEvents(events_pb2.ListEventsRequest(program="quiet"))

    assert not page.events
    assert (await refusal(shared.rules.get("e", "quiet"))).reason == "EVENT_NOT_FOUND"
    assert (await refusal(shared.rules.get("e", "nowhere"))).reason == "PROGRAM_NOT_FOUND"


async def test_nothing_falls_due_in_rules(shared: Suite) -> None:
    due = await shared.rules.clock.GetNextDue(clock_pb2.GetNextDueRequest(program=PROGRAM))
    done = await shared.rules.clock.CatchUp(
        clock_pb2.CatchUpRequest(program=PROGRAM, time=stamp(START))
    )

    assert not due.HasField("time")
    assert (done.time, done.done) == (stamp(START), 0)


async def test_only_a_sandbox_has_a_clock(shared: Suite) -> None:
    await shared.programs.CreateProgram(program_pb2.CreateProgramRequest(program="real"))
    for call in (
        shared.rules.clock.GetNextDue(clock_pb2.GetNextDueRequest(program="real")),
        shared.rules.clock.CatchUp(clock_pb2.CatchUpRequest(program="real", time=stamp(START))),
    ):
        assert (await refusal(call)).reason == "NOT_SANDBOX"


async def test_a_real_program_takes_events_of_now(shared: Suite) -> None:
    await shared.programs.CreateProgram(
        program_pb2.CreateProgramRequest(
            program="open",
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(auto_enrol=True)
            ),
        )
    )

    for number in range(5):
        outcome = await shared.rules.submit(purchase(f"n{number}", f"n{number}"), "open")
        assert outcome.state == events_pb2.EventOutcome.DONE

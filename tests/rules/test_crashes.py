"""Whatever is cut short is finished, once: by submitting again, or by the job."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from kernel.refusals import Refusal, passed_on
from loyalty.ledger.v1 import ledger_pb2, program_pb2
from loyalty.rules.v1 import events_pb2
from services.rules.operations import programs, submit
from services.rules.operations.context import RulesContext
from services.rules.operations.redrive import redrive
from tests.ledger.programs_kit import refusal
from tests.rules.kit import PROGRAM, Suite, event, purchase

STATE = events_pb2.EventOutcome
Patch = Callable[[pytest.MonkeyPatch, RulesContext], None]


class Cut(Exception):
    """The process dies here."""


def cut(patch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool = False) -> None:
    """Let a step die: before it begins, or after it is done and before anybody learns of it."""
    original = getattr(owner, name)

    async def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            await original(*arguments, **named)
        raise Cut

    patch.setattr(owner, name, dying)


STEPS: dict[str, Patch] = {
    "before the ledger is asked": lambda patch, rules: cut(patch, rules.ledger, "post"),
    "after the ledger answered": lambda patch, rules: cut(patch, rules.ledger, "post", after=True),
    "before tiers are asked": lambda patch, rules: cut(patch, rules.tiers, "standings"),
    "before the outcome is recorded": lambda patch, rules: cut(patch, submit, "finish_events"),
    "before the member is evaluated": lambda patch, rules: cut(patch, rules.tiers, "evaluate"),
}
BATCH_STEPS: dict[str, Patch] = {
    "before the ledger is asked": lambda patch, rules: cut(patch, rules.ledger, "batch_post"),
    "after the ledger answered": lambda patch, rules: cut(
        patch, rules.ledger, "batch_post", after=True
    ),
    "before tiers are asked": STEPS["before tiers are asked"],
    "before the outcome is recorded": STEPS["before the outcome is recorded"],
}


async def finish(served: Suite, way: str, events: list[events_pb2.Event]) -> None:
    """Go on with what was cut short."""
    if way == "submitted again":
        for each in await served.rules.batch(events):
            assert each.outcome.state == STATE.DONE
    else:
        served.rules.context.clock = later(served.rules.context.clock)
        await redrive(served.rules.context)


def later(clock: Callable[[], Any]) -> Callable[[], Any]:
    """A clock two hours ahead: everything unfinished is due."""
    from datetime import timedelta

    return lambda: clock() + timedelta(hours=2)


@pytest.mark.parametrize("way", ["submitted again", "by the job"])
@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_an_event_cut_short_is_finished_once(
    served: Suite, step: str, tiers: bool, way: str
) -> None:
    await served.rules.rule(tier_rate=tiers)
    sent = purchase("e1", amount="600", store="s")
    with pytest.MonkeyPatch.context() as patch:
        STEPS[step](patch, served.rules.context)
        call = served.rules.submit(sent)
        if step == "before tiers are asked" and not tiers:
            assert (await call).state == STATE.DONE
        else:
            assert (await refusal(call)).reason == "FAULT"

    await finish(served, way, [sent])

    assert (await served.rules.get("e1")).state == STATE.DONE
    assert await served.numbers("m1") == (600, 60000, 1)
    assert await served.rows.fetchval("SELECT count(*) FROM event WHERE due_time IS NOT NULL") == 0


@pytest.mark.parametrize("way", ["submitted again", "by the job"])
@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize("step", BATCH_STEPS)
async def test_a_batch_cut_short_is_finished_once(
    served: Suite, step: str, tiers: bool, way: str
) -> None:
    if step == "before tiers are asked" and not tiers:
        return
    await served.rules.rule(tier_rate=tiers)
    events = [purchase(f"e{n}", f"m{n % 3}", amount="600", store="s") for n in range(6)]
    with pytest.MonkeyPatch.context() as patch:
        BATCH_STEPS[step](patch, served.rules.context)
        assert (await refusal(served.rules.batch(events))).reason == "FAULT"

    await finish(served, way, events)
    # With tiers the later rounds were never begun, so the caller sends them again anyway.
    await served.rules.batch(events)

    points = 600 + 900 if tiers else 1200
    for member in ("m0", "m1", "m2"):
        assert await served.numbers(member) == (points, 120000, 1)
        assert await served.verified(member)


async def test_without_the_ledger_nothing_of_a_sandbox_is_logged(served: Suite) -> None:
    await served.rules.rule()
    await served.ledger.stop()

    refused = await refusal(served.rules.submit(purchase("e1")))

    assert refused.reason == "DEPENDENCY_UNAVAILABLE"
    assert await served.rows.fetchval("SELECT count(*) FROM event") == 0

    await served.ledger.start()
    assert (await submitted_when_back(served, purchase("e1"))).state == STATE.DONE


async def submitted_when_back(served: Suite, sent: events_pb2.Event) -> Any:
    """Submit until the channel has found the ledger again."""
    for _ in range(300):
        try:
            return await served.rules.submit(sent)
        except Exception:  # noqa: BLE001 - not back yet
            await asyncio.sleep(0.1)
    return await served.rules.submit(sent)


async def test_decided_events_wait_for_the_ledger(
    served: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "FRESH_SECONDS", 3600.0)
    await served.programs.CreateProgram(
        program_pb2.CreateProgramRequest(
            program="real",
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(auto_enrol=True)
            ),
        )
    )
    await served.rules.rule(program="real")
    await served.ledger.stop()

    single = await refusal(served.rules.submit(purchase("e1"), "real"))
    batch = await served.rules.batch([purchase("e1"), purchase("e2", "m2")], "real")
    waiting = await served.rules.get("e1", "real")
    await served.ledger.start()
    served.rules.context.clock = later(served.rules.context.clock)
    for _ in range(300):
        _, done = await redrive(served.rules.context)
        if done:
            break
        served.rules.context.clock = later(served.rules.context.clock)
        await asyncio.sleep(0.1)

    assert single.reason == "DEPENDENCY_UNAVAILABLE"
    assert all(each.HasField("status") for each in batch)
    assert waiting.state == STATE.DECIDED
    assert [step.rule for step in waiting.trace if step.applied] == [
        "base",
        "count:spend",
        "count:visits",
    ]
    for member in ("m1", "m2"):
        assert await served.numbers(member, "real") == (12, 1234, 1)
    assert (await served.rules.get("e1", "real")).posting.actor == "service:rules"


async def test_without_tiers_points_are_given_all_the_same(served: Suite) -> None:
    await served.rules.rule()
    await served.tiers.stop()

    outcome = await served.rules.submit(purchase("e1"))

    assert outcome.account.balances[0].available == 12
    assert not outcome.HasField("membership")


async def test_slow_tiers_are_not_waited_for(served: Suite) -> None:
    await served.rules.rule()
    served.tiers.delay = 60.0
    began = time.monotonic()

    outcome = await served.rules.submit(purchase("e1"))

    assert time.monotonic() - began < 30
    assert outcome.account.balances[0].available == 12
    assert not outcome.HasField("membership")


async def test_points_that_rest_on_the_tier_wait_for_it(served: Suite) -> None:
    await served.rules.rule(tier_rate=True)
    port = served.tiers_port
    await served.tiers.stop()

    refused = await refusal(served.rules.submit(purchase("e1", amount="600")))
    batch = await served.rules.batch([purchase("e1", amount="600"), purchase("e2", amount="10")])
    waiting = await served.rules.get("e1")
    await served.tiers.start(port)
    served.rules.context.clock = later(served.rules.context.clock)
    for _ in range(300):
        await redrive(served.rules.context)
        if (await served.rules.get("e2")).state == STATE.DONE:
            break
        served.rules.context.clock = later(served.rules.context.clock)
        await asyncio.sleep(0.1)

    assert (refused.reason, refused.metadata["dependency"]) == ("DEPENDENCY_UNAVAILABLE", "tiers")
    assert all(each.HasField("status") for each in batch)
    assert (waiting.state, list(waiting.trace)) == (STATE.LOGGED, [])
    # In the order of logging, the tier that the first one brought included.
    assert await served.numbers("m1") == (615, 61000, 1)


async def test_a_member_who_could_not_be_evaluated_is_before_the_next_event(
    served: Suite,
) -> None:
    await served.rules.rule(tier_rate=True)
    await served.rules.submit(purchase("e0", amount="1"))
    with pytest.MonkeyPatch.context() as patch:

        async def away(*_: Any, **__: Any) -> Any:
            raise passed_on("DEPENDENCY_UNAVAILABLE", "tiers are away", {"dependency": "tiers"})

        patch.setattr(served.rules.context.tiers, "evaluate", away)
        first = await served.rules.submit(purchase("e1", amount="600"))

    second = await served.rules.submit(purchase("e2", amount="100"))

    assert not first.HasField("membership")
    assert second.posting.entries[0].points == 150


def changing(rules: RulesContext, patch: pytest.MonkeyPatch, times: int) -> list[bytes]:
    """Let the ledger say so many times that what a decision rested on has changed."""
    sent: list[bytes] = []
    original = rules.ledger.post

    async def post(request: bytes, *arguments: Any) -> Any:
        sent.append(request)
        if len(sent) <= times:
            refused: Refusal = passed_on("PRECONDITION_CHANGED", "changed", {})
            return refused
        return await original(request, *arguments)

    patch.setattr(rules.ledger, "post", post)
    return sent


@pytest.mark.parametrize("tiers", [False, True])
async def test_an_event_is_decided_again_where_what_it_rests_on_changed(
    served: Suite, monkeypatch: pytest.MonkeyPatch, tiers: bool
) -> None:
    await served.rules.rule(tier_rate=tiers)
    sent = changing(served.rules.context, monkeypatch, 2)

    outcome = await served.rules.submit(purchase("e1"))

    assert outcome.state == STATE.DONE
    assert not outcome.replayed
    assert len(sent) == 3
    assert await served.numbers("m1") == (12, 1234, 1)


async def test_what_changes_all_the_time_is_left_for_later(
    served: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing(served.rules.context, monkeypatch, 1000)

    refused = await refusal(served.rules.submit(purchase("e1")))

    assert refused.reason == "PRECONDITION_CHANGED"
    assert (await served.rules.get("e1")).state == STATE.DECIDED


async def test_the_decided_bytes_are_what_is_sent_again(
    served: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.rules.rule("r1")
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, served.rules.context.ledger, "post")
        await refusal(served.rules.submit(purchase("e1")))
    await served.rules.rule("r2", points="100")
    sent = changing(served.rules.context, monkeypatch, 0)
    stored = await served.rows.fetchval("SELECT post FROM event")

    outcome = await served.rules.submit(purchase("e1"))

    (again,) = (ledger_pb2.PostRequest.FromString(each) for each in sent)
    # What is posted late says since when it is known; it is no part of what was decided.
    assert again.HasField("logged_time")
    again.ClearField("logged_time")
    assert again == ledger_pb2.PostRequest.FromString(stored)
    assert (outcome.ruleset, outcome.account.balances[0].available) == (1, 12)


async def test_the_job_leaves_alone_what_was_refused_meanwhile(served: Suite) -> None:
    await served.rules.rule()
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, served.rules.context.ledger, "post")
        await refusal(served.rules.submit(purchase("e1")))
        original = submit.Submission.run

        async def refused_first(self: Any, events: Any) -> Any:
            await served.rows.execute(
                """UPDATE event SET state = 4, due_time = NULL, visit_day = NULL,
                refusal = '{"reason": "MEMBER_FROZEN", "message": "no", "metadata": {}}'"""
            )
            return await original(self, events)

        patch.setattr(submit.Submission, "run", refused_first)
        served.rules.context.clock = later(served.rules.context.clock)
        assert await redrive(served.rules.context) == (1, 0)

    assert (await served.rules.get("e1")).state == STATE.REFUSED
    assert (await refusal(served.account("m1"))).reason == "MEMBER_NOT_FOUND"


async def test_the_job_finishes_what_it_finds(served: Suite) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, served.rules.context.ledger, "post")
        served.rules.context.redrive_after_seconds = 0.01
        await refusal(served.rules.submit(event("e1", "qr_scan")))
    await served.start_rules(rules_redrive_every_seconds=0.05)

    for _ in range(300):
        if (await served.rules.get("e1")).state == STATE.DONE:
            break
        await asyncio.sleep(0.1)

    assert await served.numbers("m1") == (10, 0, 0)


async def test_catching_up_finishes_what_is_unfinished_now(served: Suite) -> None:
    from loyalty.common.v1 import clock_pb2
    from tests.rules.kit import START, stamp

    with pytest.MonkeyPatch.context() as patch:
        cut(patch, served.rules.context.ledger, "post")
        await refusal(served.rules.submit(event("e1", "qr_scan")))

    done = await served.rules.clock.CatchUp(
        clock_pb2.CatchUpRequest(program=PROGRAM, time=stamp(START))
    )

    assert done.done == 1
    assert await served.numbers("m1") == (10, 0, 0)


async def test_an_event_that_breaks_keeps_no_other_from_being_finished(
    served: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.rules.operations import redrive as module

    with pytest.MonkeyPatch.context() as patch:
        cut(patch, served.rules.context.ledger, "batch_post")
        await refusal(served.rules.batch([event(f"e{n}", "qr_scan", f"m{n}") for n in range(4)]))
    original = submit.resume_events

    async def breaking(*arguments: Any) -> Any:
        if any(each.id == "e2" for each in arguments[-1]):
            raise Cut
        return await original(*arguments)

    monkeypatch.setattr(module, "resume_events", breaking)
    served.rules.context.clock = later(served.rules.context.clock)

    assert await redrive(served.rules.context) == (4, 3)
    assert await served.numbers("m3") == (10, 0, 0)

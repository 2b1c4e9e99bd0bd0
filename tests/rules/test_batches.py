"""A batch is its events one after the other; the same events in any way have the same end."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.refusals import error_info, status_of_error
from loyalty.common.v1 import money_pb2
from loyalty.ledger.v1 import resources_pb2
from loyalty.rules.v1 import events_pb2
from tests.ledger.programs_kit import refusal
from tests.rules.kit import START, RulesServer, Suite, purchase, stamp

MEMBERS = ("m1", "m2", "m3")
_names = itertools.count()


@dataclass(frozen=True)
class Setting:
    """What a program is like."""

    tiers: bool
    auto_enrol: bool
    starts_late: bool


@st.composite
def any_event(draw: st.DrawFn) -> events_pb2.Event:
    """An event with a good chance to collide with another one in id, member, store and day."""
    kind = draw(st.sampled_from(["purchase"] * 4 + ["qr_scan", "page_view", "levitated"]))
    hours = draw(st.integers(-1, 72))
    found = events_pb2.Event(
        id=f"e{draw(st.integers(0, 9))}",
        type=kind,
        member=draw(st.sampled_from(MEMBERS)),
        effective_time=stamp(START - timedelta(hours=hours)),
        store=draw(st.sampled_from(["", "a"])),
    )
    if kind == "purchase":
        amount = draw(st.sampled_from(["0", "0.99", "10", "499.99", "600", "-1", "2500"]))
        currency = draw(st.sampled_from(["", "USD", "USD", "EUR"]))
        found.amount.CopyFrom(money_pb2.Money(amount=amount, currency=currency))
    return found


SETTINGS = st.builds(Setting, st.booleans(), st.booleans(), st.booleans())
EVENTS = st.lists(any_event(), min_size=1, max_size=14)
SEARCH = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def new_program(suite: Suite, setting: Setting) -> str:
    """A program of its own for one example."""
    program = f"x{next(_names)}"
    changes: dict[str, Any] = {"auto_enrol": setting.auto_enrol}
    if setting.starts_late:
        # In the middle of a day, so that one purchase of it is refused and the next is not.
        changes["start"] = stamp(START - timedelta(hours=30))
    await suite.create_program(program, **changes)
    await suite.rules.rule(program=program, tier_rate=setting.tiers)
    if not setting.auto_enrol:
        await enrol(suite, program, "m1")
    return program


async def enrol(suite: Suite, program: str, member: str) -> None:
    """Enrol one member by hand."""
    from loyalty.ledger.v1 import account_pb2
    from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub

    stub: Any = AccountServiceStub(suite.channel)
    await stub.EnrolMember(
        account_pb2.EnrolMemberRequest(program=program, member=member, request_id="enrol")
    )


def summary_of(outcome: events_pb2.EventOutcome) -> tuple[Any, ...]:
    """What a caller sees of an outcome, but for ids and times of recording."""
    return (
        events_pb2.EventOutcome.State.Name(outcome.state),
        outcome.replayed,
        [
            (entry.kind, entry.points, entry.counter, entry.counter_change, entry.source.rule)
            for entry in outcome.posting.entries
            if entry.kind != resources_pb2.Entry.ENROLLED
        ],
        [(step.rule, step.applied, step.points, step.rate) for step in outcome.trace],
    )


async def one_by_one(
    rules: RulesServer, program: str, events: Sequence[events_pb2.Event]
) -> list[Any]:
    """Submit the events singly; what became of each."""
    results: list[Any] = []
    for each in events:
        try:
            results.append(summary_of(await rules.submit(each, program)))
        except grpc.aio.AioRpcError as error:
            info = error_info(status_of_error(error, "rules"))
            results.append(info.reason if info else str(error))
    return results


async def together(
    rules: RulesServer, program: str, events: Sequence[events_pb2.Event], sizes: Sequence[int]
) -> list[Any]:
    """Submit the events in batches of the sizes, again and again; what became of each."""
    results: list[Any] = []
    left = list(events)
    for size in itertools.cycle(sizes):
        if not left:
            return results
        for each in await rules.batch(left[:size], program):
            if each.HasField("outcome"):
                results.append(summary_of(each.outcome))
            else:
                info = error_info(each.status)
                results.append(info.reason if info else str(each.status))
        left = left[size:]
    raise AssertionError


async def end_of(suite: Suite, program: str) -> dict[str, Any]:
    """Where the members are at the end: points, spend and visits, and their tiers."""
    found = await suite.spent_by(MEMBERS, program)
    for member in found:
        assert await suite.verified(member, program)
    return {
        member: (numbers, suite.tiers.standing.get((program, member), 0))
        for member, numbers in found.items()
    }


@SEARCH
@given(setting=SETTINGS, events=EVENTS, sizes=st.lists(st.integers(1, 14), min_size=1, max_size=3))
async def test_a_batch_is_its_events_one_after_the_other(
    shared: Suite, setting: Setting, events: list[events_pb2.Event], sizes: list[int]
) -> None:
    singly, in_batches = [await new_program(shared, setting) for _ in range(2)]

    expected = await one_by_one(shared.rules, singly, events)
    found = await together(shared.rules, in_batches, events, sizes)

    assert found == expected
    assert await end_of(shared, in_batches) == await end_of(shared, singly)
    await assert_the_log_agrees(shared, in_batches)


@SEARCH
@given(setting=SETTINGS, events=EVENTS, sizes=st.lists(st.integers(1, 14), min_size=1, max_size=3))
async def test_events_that_are_sent_twice_change_nothing_more(
    shared: Suite, setting: Setting, events: list[events_pb2.Event], sizes: list[int]
) -> None:
    program = await new_program(shared, setting)
    await one_by_one(shared.rules, program, events)
    end = await end_of(shared, program)

    again = await together(shared.rules, program, events, sizes)

    # What was refused because of its time may be refused again; what was done stays as it was.
    assert await end_of(shared, program) == end
    assert all(isinstance(each, str) or each[1] for each in again)


@SEARCH
@given(events=EVENTS, auto_enrol=st.booleans())
async def test_the_same_events_from_three_servers_at_once_have_the_same_end(
    three: Suite, events: list[events_pb2.Event], auto_enrol: bool
) -> None:
    setting = Setting(tiers=False, auto_enrol=auto_enrol, starts_late=False)
    # Of two events of one id one is refused, and which one is a matter of who comes first.
    events = list({each.id: each for each in events}.values())
    alone, at_once = [await new_program(three, setting) for _ in range(2)]
    await one_by_one(three.servers[0], alone, events)

    await asyncio.gather(
        one_by_one(three.servers[0], at_once, events),
        together(three.servers[1], at_once, events, [5]),
        together(three.servers[2], at_once, events[::-1], [3]),
    )

    assert await end_of(three, at_once) == await end_of(three, alone)
    await assert_the_log_agrees(three, at_once)


async def assert_the_log_agrees(suite: Suite, program: str) -> None:
    """Every event is finished, and every visit belongs to one that is done."""
    rows = await suite.rows.fetch(
        """
        SELECT event.id, state, visit_day, visit.event IS NOT NULL AS visited
        FROM event JOIN program ON program.key = event.program
        LEFT JOIN visit ON visit.program = event.program AND visit.event = event.id
        WHERE program.id = $1
        """,
        program,
    )
    for row in rows:
        assert row["state"] in {3, 4}
        assert row["visited"] == (row["visit_day"] is not None)
        assert row["state"] == 3 or not row["visited"]


@pytest.fixture(scope="module")
async def three(shared: Suite) -> Suite:
    """Three of the rules over one database."""
    while len(shared.servers) < 3:
        await shared.start_rules()
    return shared


async def test_a_batch_brings_tiers_between_its_events(shared: Suite) -> None:
    program = await new_program(shared, Setting(tiers=True, auto_enrol=True, starts_late=False))

    results = await shared.rules.batch(
        [purchase("a", amount="600"), purchase("b", amount="1500"), purchase("c", amount="10")],
        program,
    )

    points = [sum(entry.points for entry in each.outcome.posting.entries) for each in results]
    assert points == [600, 2250, 20]
    assert [each.outcome.membership.tier.tier for each in results] == ["silver", "gold", "gold"]


async def test_a_brief_batch_leaves_accounts_memberships_and_traces_out(shared: Suite) -> None:
    program = await new_program(shared, Setting(tiers=False, auto_enrol=True, starts_late=False))

    brief = await shared.rules.batch([purchase("a"), purchase("b", "m2")], program, brief=True)
    full = await shared.rules.batch([purchase("a"), purchase("b", "m2")], program)

    for each in brief:
        assert each.outcome.HasField("posting")
        assert not each.outcome.HasField("account")
        assert not each.outcome.HasField("membership")
        assert not each.outcome.trace
    for each in full:
        assert each.outcome.replayed
        assert each.outcome.account.balances[0].available == 12
        assert each.outcome.membership.tier.tier == "bronze"
        assert each.outcome.trace


async def test_a_large_batch_goes_in_more_than_one_call(shared: Suite) -> None:
    program = await new_program(shared, Setting(tiers=False, auto_enrol=True, starts_late=False))
    events = [purchase(f"e{n}", f"m{n}", amount="3") for n in range(1000)]

    results = await shared.rules.batch(events, program, brief=True)

    assert all(each.HasField("outcome") for each in results)
    found = await shared.spent_by([f"m{n}" for n in range(1000)], program)
    assert set(found.values()) == {(3, 300, 1)}
    assert len(found) == 1000


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_one_to_a_thousand_events(shared: Suite, count: int) -> None:
    refused = await refusal(shared.rules.batch([purchase(f"e{n}") for n in range(count)]))

    assert refused.reason == "INVALID_FIELD"


async def test_a_batch_has_at_most_5000_lines(shared: Suite) -> None:
    line = {"amount": money_pb2.Money(amount="1")}
    lines = [events_pb2.EventLine(line=str(n), **line) for n in range(500)]  # type: ignore[arg-type]
    refused = await refusal(shared.rules.batch([purchase(f"e{n}", lines=lines) for n in range(11)]))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ("events",))

"""One event on its way: what is posted, what is answered, and why."""

from datetime import timedelta
from typing import Any

import grpc
import pytest

from loyalty.common.v1 import money_pb2
from loyalty.ledger.v1 import ledger_pb2, program_pb2
from loyalty.rules.v1 import earning_pb2, events_pb2
from testkit.servers import token
from tests.ledger.programs_kit import refusal
from tests.rules.kit import PROGRAM, START, Suite, event, purchase, stamp

STATE = events_pb2.EventOutcome


def submission(sent: events_pb2.Event, program: str = PROGRAM) -> events_pb2.SubmitEventRequest:
    return events_pb2.SubmitEventRequest(program=program, event=sent)


async def test_a_purchase_earns_by_its_amount_and_is_counted(served: Suite) -> None:
    await served.rules.rule()

    outcome = await served.rules.submit(purchase("e1", amount="12.34"))

    assert outcome.state == STATE.DONE
    assert not outcome.replayed
    assert outcome.account.balances[0].available == 12
    assert outcome.membership.tier.tier == "bronze"
    assert await served.numbers("m1") == (12, 1234, 1)
    earned = outcome.posting.entries[1]
    assert (earned.points, earned.source.rule, earned.source.event) == (12, "base", "e1")
    assert (earned.source.value.amount, earned.source.rate) == ("12.34", "1")
    assert (earned.source.rounding, earned.source.ruleset) == ("FLOOR", 1)
    assert outcome.posting.actor == "tester"
    assert [(step.rule, step.applied, step.points) for step in outcome.trace] == [
        ("points:purchase", False, 0),
        ("base", True, 12),
        ("count:spend", True, 1234),
        ("count:visits", True, 1),
    ]


async def test_an_event_earns_its_points(served: Suite) -> None:
    outcome = await served.rules.submit(event("e1", "qr_scan"))

    assert outcome.account.balances[0].available == 10
    assert outcome.posting.entries[1].source.rule == "points.qr_scan"


async def test_the_same_event_again_is_answered_with_the_original(served: Suite) -> None:
    first = await served.rules.submit(purchase("e1"))

    again = await served.rules.submit(purchase("e1"))

    assert again.replayed
    assert again.posting == first.posting
    assert again.trace == first.trace
    assert again.account == first.account
    assert await served.numbers("m1") == (0, 1234, 1)


async def test_a_recorded_event_is_answered_before_everything_else(served: Suite) -> None:
    await served.rules.submit(purchase("e1"))
    await served.programs.UpdateProgramSettings(
        program_pb2.UpdateProgramSettingsRequest(
            program=PROGRAM,
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(currency_code="EUR")
            ),
        )
    )
    await served.programs.CreateProgram(program_pb2.CreateProgramRequest(program="other"))

    other = await refusal(
        served.rules.submit(purchase("e1", amount="1", when=START + timedelta(days=9)))
    )

    assert other.reason == "REQUEST_ID_REUSED"


async def test_another_event_of_a_known_id_is_refused(served: Suite) -> None:
    await served.rules.submit(purchase("e1"))

    refused = await refusal(served.rules.submit(purchase("e1", amount="12.35")))

    assert (refused.reason, refused.metadata) == ("REQUEST_ID_REUSED", {"request_id": "e1"})
    assert await served.numbers("m1") == (0, 1234, 1)


async def test_a_purchase_of_nothing_enrols_and_earns_nothing(served: Suite) -> None:
    await served.rules.rule()

    outcome = await served.rules.submit(purchase("e1", amount="0"))

    assert outcome.account.balances[0].available == 0
    assert await served.numbers("m1") == (0, 0, 1)


async def test_what_earns_and_counts_nothing_writes_nothing_to_the_ledger(served: Suite) -> None:
    await served.rules.earning.SetEventPoints(
        earning_pb2.SetEventPointsRequest(
            program=PROGRAM, event_points=[earning_pb2.EventPoints(type="page_view", points=0)]
        )
    )

    outcome = await served.rules.submit(event("e1", "page_view"))
    missed = await served.rules.submit(event("e2", "appointment_missed"))

    for each in (outcome, missed):
        assert each.state == STATE.DONE
        assert not each.HasField("posting")
        assert not each.HasField("account")
        assert not each.HasField("membership")
        assert [step.applied for step in each.trace] == [False]
    account = await refusal(served.account("m1"))
    assert account.reason in {"MEMBER_NOT_FOUND", "COUNTER_NOT_FOUND"}


async def test_a_visit_is_counted_once_a_store_and_local_day(served: Suite) -> None:
    day = START - timedelta(days=3)
    for number, (store, hours) in enumerate(
        [("a", 1), ("a", 5), ("b", 5), ("a", 25), ("a", 26), ("", 1), ("", 2)]
    ):
        await served.rules.submit(
            purchase(f"e{number}", when=day + timedelta(hours=hours), store=store)
        )

    assert await served.numbers("m1") == (0, 7 * 1234, 4)


async def test_an_event_without_a_time_happens_now(served: Suite) -> None:
    outcome = await served.rules.submit(purchase("e1"))

    assert outcome.event.effective_time.ToDatetime() == START.replace(tzinfo=None)
    assert outcome.posting.effective_time == outcome.event.effective_time
    again = await served.rules.submit(purchase("e1"))
    assert again.replayed
    other = await refusal(served.rules.submit(purchase("e1", when=START)))
    assert other.reason == "REQUEST_ID_REUSED"


async def test_a_refused_event_is_not_remembered(served: Suite) -> None:
    await served.create_program("closed", auto_enrol=False)

    refused = await refusal(served.rules.submit(purchase("e1"), "closed"))
    kept = await served.rules.get("e1", "closed")

    assert (refused.reason, refused.metadata) == ("MEMBER_NOT_FOUND", {"member": "m1"})
    assert kept.state == STATE.REFUSED
    assert kept.status.details
    assert await served.rows.fetchval("SELECT count(*) FROM visit") == 0

    await served.programs.UpdateProgramSettings(
        program_pb2.UpdateProgramSettingsRequest(
            program="closed",
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(auto_enrol=True)
            ),
        )
    )
    another = await served.rules.submit(purchase("e1", amount="5"), "closed")

    assert (another.state, another.replayed) == (STATE.DONE, False)
    assert not (await served.rules.get("e1", "closed")).HasField("status")
    assert await served.numbers("m1", "closed") == (0, 500, 1)


async def test_the_time_of_earning_is_the_ledgers_to_say(served: Suite) -> None:
    await served.create_program("later", start=stamp(START + timedelta(days=1)))

    refused = await refusal(served.rules.submit(purchase("e1"), "later"))

    assert refused.reason == "PROGRAM_INACTIVE"


async def test_a_posting_of_the_same_id_in_the_ledger_is_not_ours(served: Suite) -> None:
    await served.points.Earn(
        ledger_pb2.EarnRequest(program=PROGRAM, member="m1", request_id="e1", points=5)
    )

    refused = await refusal(served.rules.submit(purchase("e1")))

    assert refused.reason == "REQUEST_ID_REUSED"
    assert (await served.rules.get("e1")).state == STATE.REFUSED


async def test_spend_counted_in_another_money_is_not_mixed(served: Suite) -> None:
    await served.rules.submit(purchase("e1"))
    await served.programs.UpdateProgramSettings(
        program_pb2.UpdateProgramSettingsRequest(
            program=PROGRAM,
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(currency_code="EUR")
            ),
        )
    )

    refused = await refusal(served.rules.submit(purchase("e2")))

    assert refused.reason == "MONEY_CURRENCY_MISMATCH"
    assert refused.metadata == {"currency": "minor:EUR", "expected": "minor:USD"}


async def test_the_tier_before_a_purchase_is_the_one_it_earns_at(served: Suite) -> None:
    await served.rules.rule(tier_rate=True)

    first = await served.rules.submit(purchase("e1", amount="600"))
    second = await served.rules.submit(purchase("e2", amount="100"))

    assert first.membership.tier.tier == "silver"
    assert (first.posting.entries[1].points, second.posting.entries[0].points) == (600, 150)
    assert "1.5 in tier silver" in second.trace[1].explanation


async def test_a_member_who_is_new_earns_at_the_base_of_the_ladder(served: Suite) -> None:
    served.tiers.steps = ((0, "welcome", "2"),)
    await served.rules.rule(tier_rate=True)

    outcome = await served.rules.submit(purchase("e1", amount="10"))

    assert outcome.account.balances[0].available == 20


async def test_a_caller_needs_to_be_allowed_to_post(served: Suite) -> None:
    weak = (("authorization", f"Bearer {token(scopes=['events:write'])}"),)

    refused = await refusal(
        served.rules.events.SubmitEvent(submission(purchase("e1")), metadata=weak)
    )

    assert (refused.reason, refused.metadata) == ("SCOPE_MISSING", {"scope": "ledger:write"})
    assert await served.rows.fetchval("SELECT count(*) FROM event") == 0


async def test_a_caller_of_events_needs_no_other_scopes(served: Suite) -> None:
    enough = (("authorization", f"Bearer {token(scopes=['events:write', 'ledger:write'])}"),)

    outcome = await served.rules.events.SubmitEvent(submission(purchase("e1")), metadata=enough)

    assert outcome.account.member == outcome.membership.member == "m1"


async def test_programs_of_others_are_not_there(served: Suite) -> None:
    await served.rules.submit(purchase("e1"))
    stranger = (("authorization", f"Bearer {token('stranger')}"),)

    for call in (
        served.rules.events.SubmitEvent(submission(purchase("e1")), metadata=stranger),
        served.rules.events.GetEvent(
            events_pb2.GetEventRequest(program=PROGRAM, event="e1"), metadata=stranger
        ),
        served.rules.events.ListEvents(
            events_pb2.ListEventsRequest(program=PROGRAM), metadata=stranger
        ),
    ):
        assert (await refusal(call)).reason == "PROGRAM_NOT_FOUND"


def paid(amount: str, currency: str = "") -> dict[str, Any]:
    return {"amount": money_pb2.Money(amount=amount, currency=currency)}


BAD: dict[str, tuple[events_pb2.Event, str, str]] = {
    "no id": (event("", "search"), "INVALID_FIELD", "event.id"),
    "an id with a space": (event("a b", "search"), "INVALID_FIELD", "event.id"),
    "an id with a slash": (event("a/b", "search"), "INVALID_FIELD", "event.id"),
    "no type": (event("e", ""), "INVALID_FIELD", "event.type"),
    "no member": (event("e", "search", ""), "INVALID_FIELD", "event.member"),
    "an unknown type": (event("e", "levitated"), "EVENT_TYPE_UNKNOWN", ""),
    "a type of the system": (event("e", "points_expired"), "EVENT_TYPE_UNKNOWN", ""),
    "a return": (event("e", "purchase_returned"), "EVENT_TYPE_UNKNOWN", ""),
    "tomorrow": (
        purchase("e", when=START + timedelta(days=1)),
        "EFFECTIVE_TIME_IN_FUTURE",
        "",
    ),
    "a microsecond from now": (
        purchase("e", when=START + timedelta(microseconds=1)),
        "EFFECTIVE_TIME_IN_FUTURE",
        "",
    ),
    "a negative amount": (purchase("e", amount="-1"), "INVALID_FIELD", "event.amount.amount"),
    "a part of a cent": (purchase("e", amount="1.001"), "INVALID_FIELD", "event.amount.amount"),
    "no number": (purchase("e", amount="1e3"), "INVALID_FIELD", "event.amount.amount"),
    "other money": (
        events_pb2.Event(id="e", type="purchase", member="m", **paid("1", "EUR")),
        "MONEY_CURRENCY_MISMATCH",
        "",
    ),
    "no amount of a line": (
        purchase("e", lines=[events_pb2.EventLine(line="1")]),
        "INVALID_FIELD",
        "event.lines[0].amount",
    ),
    "a negative line": (
        purchase("e", lines=[events_pb2.EventLine(line="1", **paid("-1"))]),
        "INVALID_FIELD",
        "event.lines[0].amount.amount",
    ),
    "two lines of one id": (
        purchase("e", lines=[events_pb2.EventLine(line="1", **paid("1"))] * 2),
        "INVALID_FIELD",
        "event.lines[1].line",
    ),
    "a NUL in the store": (purchase("e", store="a\x00"), "INVALID_FIELD", "event.store"),
    "more money than there is": (
        purchase("e", amount="99999999999999.99"),
        "POINTS_OVERFLOW",
        "",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_events_that_are_refused_leave_nothing(shared: Suite, case: str) -> None:
    sent, reason, field = BAD[case]

    refused = await refusal(shared.rules.submit(sent))

    assert refused.reason == reason
    if field:
        assert field in refused.fields
    assert await shared.rows.fetchval("SELECT count(*) FROM event") == 0
    assert await shared.rows.fetchval("SELECT count(*) FROM visit") == 0


async def test_no_event_is_refused(shared: Suite) -> None:
    call = shared.rules.events.SubmitEvent(events_pb2.SubmitEventRequest(program=PROGRAM))

    assert (await refusal(call)).reason == "INVALID_FIELD"


async def test_a_program_that_is_not_there_is_refused(shared: Suite) -> None:
    refused = await refusal(shared.rules.submit(purchase("e"), "nowhere"))

    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "PROGRAM_NOT_FOUND")

"""The shape of messages: paths that can be found, and what no store can keep."""

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.validation import TIME_SECONDS_MAX, TIME_SECONDS_MIN, validate
from kernel.refusals import InvalidField
from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import ledger_pb2


def earn(**changes: object) -> ledger_pb2.EarnRequest:
    fields = {"program": "p", "member": "m", "request_id": "r", "points": 1} | changes
    return ledger_pb2.EarnRequest(**fields)  # type: ignore[arg-type]


def post(*operations: ledger_pb2.Operation, **changes: object) -> ledger_pb2.PostRequest:
    fields = {"program": "p", "member": "m", "request_id": "r"} | changes
    return ledger_pb2.PostRequest(operations=operations, **fields)  # type: ignore[arg-type]


def page(seconds: int) -> Message:
    """A message with a time that no rule of its own bounds."""
    return ledger_pb2.WatchChangesResponse(current_time=Timestamp(seconds=seconds))


GIVE = ledger_pb2.Operation(earn=ledger_pb2.EarnOperation(points=1))
TAKE_NONE = ledger_pb2.Operation(redeem=ledger_pb2.RedeemOperation(points=0))
NUL_REASON = ledger_pb2.Operation(adjust=ledger_pb2.AdjustOperation(points=1, reason="\x00"))
LATE_MATURE = ledger_pb2.Operation(
    earn=ledger_pb2.EarnOperation(points=1, mature_time=Timestamp(seconds=TIME_SECONDS_MAX + 1))
)

CASES: dict[str, tuple[Message, list[str]]] = {
    "a good one": (earn(), []),
    "missing fields": (ledger_pb2.EarnRequest(), ["program", "member", "request_id", "points"]),
    "a missing message": (clock_pb2.CatchUpRequest(program="p"), ["time"]),
    "a missing list": (post(), ["operations"]),
    "an operation that says nothing": (post(ledger_pb2.Operation()), ["operations[0].operation"]),
    "the second operation's points": (post(GIVE, TAKE_NONE), ["operations[1].redeem.points"]),
    "within a batch": (
        ledger_pb2.BatchPostRequest(program="p", requests=[post(GIVE), post(GIVE, TAKE_NONE)]),
        ["requests[1].operations[1].redeem.points"],
    ),
    "too many": (earn(points=10**15 + 1), ["points"]),
    "a slash in a member": (earn(member="a/b"), ["member"]),
    "a line break after a member": (earn(member="a\n"), ["member"]),
    "a member of another alphabet": (earn(member="Ω"), ["member"]),
    "NUL in a text": (earn(reference="a\x00"), ["reference"]),
    "NUL deep within": (
        ledger_pb2.BatchPostRequest(program="p", requests=[post(GIVE, NUL_REASON)]),
        ["requests[0].operations[1].adjust.reason"],
    ),
    "the first time": (page(TIME_SECONDS_MIN), []),
    "the last time": (page(TIME_SECONDS_MAX), []),
    "before the first": (page(TIME_SECONDS_MIN - 1), ["current_time"]),
    "after the last": (page(TIME_SECONDS_MAX + 1), ["current_time"]),
    "after the last, deep within": (post(LATE_MATURE), ["operations[0].earn.mature_time"]),
    "no time at all": (earn(effective_time=Timestamp(seconds=-(2**63))), ["effective_time"]),
    "negative nanoseconds": (earn(effective_time=Timestamp(nanos=-1)), ["effective_time"]),
    "a rule and a NUL": (earn(points=0, reference="\x00"), ["points", "reference"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_broken_field_is_named_by_its_path(case: str) -> None:
    message, fields = CASES[case]
    if not fields:
        validate(message)
        return

    with pytest.raises(InvalidField) as caught:
        validate(message)
    assert [each.field for each in caught.value.violations] == fields
    assert all(each.description for each in caught.value.violations)


def test_a_thousand_broken_items_are_named_up_to_a_bound() -> None:
    batch = ledger_pb2.BatchPostRequest(program="p", requests=[post(TAKE_NONE)] * 1000)

    with pytest.raises(InvalidField) as caught:
        validate(batch)
    assert len(caught.value.violations) == 100

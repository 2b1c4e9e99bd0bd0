"""What callers read when a text breaks a rule of its shape."""

import re
from pathlib import Path

import pytest

from chassis.validation import validate
from chassis.wording import pattern_words
from kernel.refusals import InvalidField
from loyalty.ledger.v1 import ledger_pb2, program_pb2
from loyalty.rules.v1 import events_pb2

PROTOS = Path(__file__).parents[2] / "protos" / "loyalty"


def said(message: object) -> dict[str, str]:
    with pytest.raises(InvalidField) as refused:
        validate(message)  # type: ignore[arg-type]
    return {each.field: each.description for each in refused.value.violations}


def test_what_is_missing_is_called_required() -> None:
    assert said(ledger_pb2.EarnRequest(program="p", member="m", points=1)) == {
        "request_id": "is required"
    }


def test_what_is_wrong_is_told_in_words() -> None:
    request = ledger_pb2.EarnRequest(program="p/q", member="a b", request_id="é", points=1)
    assert said(request) == {
        "program": "must be 1 to 128 letters, digits and . _ ~ -",
        "member": "must be 1 to 128 visible ASCII characters but /",
        "request_id": "must be 1 to 128 visible ASCII characters",
    }
    event = events_pb2.Event(id="e", type="purchase", member="m")
    event.amount.amount = "1,5"
    submitted = events_pb2.SubmitEventRequest(program="p", event=event)
    assert said(submitted) == {
        "event.amount.amount": "must be a decimal number, such as 12.5, with at most 15 digits "
        "before the point and 9 after it"
    }
    settings = program_pb2.ProgramSettings()
    settings.program.currency_code = "usd"
    update = program_pb2.UpdateProgramSettingsRequest(program="p", settings=settings)
    assert said(update) == {
        "settings.program.currency_code": "must be three capital letters, such as USD"
    }


def test_an_enum_that_is_missing_and_a_number_that_is_none_are_told_in_words() -> None:
    request = ledger_pb2.AdjustRequest(program="p", member="m", request_id="r", reason="why")
    request.preconditions.expect.add(value=1).window.counter = "spend"
    assert said(request) == {
        "points": "must not be 0",
        "preconditions.expect[0].window.period": "is required",
    }


def test_every_pattern_of_the_contracts_has_words() -> None:
    patterns = {
        pattern
        for file in PROTOS.rglob("*.proto")
        for pattern in re.findall(r'pattern\s*[=:]\s*"([^"]+)"', file.read_text())
    }
    assert patterns
    assert not [pattern for pattern in sorted(patterns) if not pattern_words(pattern)]

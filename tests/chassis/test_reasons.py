"""The table of reasons, the published enum and the page of errors say the same."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import chassis
import kernel
from chassis.errors_document import PROTO, meanings, render
from chassis.refusals import (
    GRPC_CODES,
    Fault,
    error_info,
    http_status,
    status_of,
    violations_of,
)
from kernel.refusals import (
    REASONS,
    SHARED_METADATA,
    FieldViolation,
    InvalidField,
    LimitReached,
    Refusal,
)
from loyalty.errors.v1.errors_pb2 import Reason

ROOT = Path(__file__).parents[2]


def refusals() -> dict[str, type[Refusal]]:
    """Every subclass of `Refusal` that the libraries define, by its own name."""
    for package in (kernel, chassis):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name != "launch":
                importlib.import_module(f"{package.__name__}.{module.name}")
    found: dict[str, type[Refusal]] = {}
    waiting = Refusal.__subclasses__()
    while waiting:
        each = waiting.pop()
        found[each.__qualname__] = each
        waiting += each.__subclasses__()
    return found


def test_the_table_and_the_enum_have_the_same_names() -> None:
    assert set(REASONS) == set(Reason.keys()) - {"REASON_UNSPECIFIED"}


def test_every_refusal_has_a_reason_of_the_table() -> None:
    assert {each.reason for each in refusals().values() if hasattr(each, "reason")} <= set(REASONS)


def test_every_code_is_one_of_grpc() -> None:
    assert {code.name for code in GRPC_CODES} == {each.name for each in GRPC_CODES.values()}


def test_the_page_of_errors_is_what_the_table_makes_of_it() -> None:
    page = ROOT / "docs" / "errors.md"

    assert page.read_text() == render(PROTO.read_text()), "run python -m chassis.errors_document"


@pytest.mark.parametrize("reason", REASONS)
def test_the_comment_of_a_reason_names_its_metadata(reason: str) -> None:
    text = PROTO.read_text()
    comment = " ".join(
        line.strip().removeprefix("//").strip()
        for line in text[: text.index(f"  {reason} = ")].rsplit("\n\n", 1)[-1].splitlines()
    )

    assert meanings(text)[reason]
    for key in set(REASONS[reason].metadata) - set(SHARED_METADATA):
        assert f"`{key}`" in comment


def test_a_status_has_one_error_info_and_the_numbers_as_decimal_texts() -> None:
    status = status_of(LimitReached("transfer.maximum", 10**15, 7))

    info = error_info(status)
    assert info is not None
    assert (info.domain, info.reason) == ("loyalty", "LIMIT_REACHED")
    assert info.metadata["limit"] == "1000000000000000"
    assert len(status.details) == 1
    assert http_status(info.reason) == 409


def test_a_status_stays_small_whatever_the_caller_made_long() -> None:
    long = "Ω" * 10_000
    violations = tuple(FieldViolation(f"{long}[{each}]", long) for each in range(1000))

    status = status_of(InvalidField(*violations))
    # In the trailers: base64 of the status, and the message again, percent-encoded.
    in_trailers = len(status.SerializeToString()) * 4 / 3 + len(status.message.encode()) * 3
    assert 1 <= len(violations_of(status)) <= 16
    assert in_trailers < 8 * 1024


def test_a_fault_says_an_id_and_nothing_else() -> None:
    status = status_of(Fault("abc"))

    info = error_info(status)
    assert info is not None
    assert dict(info.metadata) == {"id": "abc"}
    assert http_status("FAULT") == 500
    assert http_status("NO_SUCH_REASON") == 500

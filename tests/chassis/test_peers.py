"""What refusals of other services are here."""

from typing import Any

import grpc
import grpc.aio
import pytest

from chassis.peers import BUSY, answer, refusal_of_error
from chassis.refusals import STATUS_KEY, Overloaded, QuotaExceeded, ScopeMissing, status_of
from kernel.refusals import MemberNotFound, Refusal

PASSED = BUSY | {"MEMBER_NOT_FOUND"}


def failed(refusal: Refusal | None, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> Any:
    trailing = () if refusal is None else ((STATUS_KEY, status_of(refusal).SerializeToString()),)
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details="inside"
    )


@pytest.mark.parametrize(
    "error,everything,some",
    [
        (failed(MemberNotFound("ada")), "MEMBER_NOT_FOUND", "MEMBER_NOT_FOUND"),
        (failed(Overloaded()), "OVERLOADED", "OVERLOADED"),
        (failed(ScopeMissing("x")), "SCOPE_MISSING", "DEPENDENCY_UNAVAILABLE"),
        (failed(QuotaExceeded(1, 1)), "QUOTA_EXCEEDED", "DEPENDENCY_UNAVAILABLE"),
        (
            failed(None, grpc.StatusCode.DEADLINE_EXCEEDED),
            "DEADLINE_PASSED",
            "DEADLINE_PASSED",
        ),
        (
            failed(None, grpc.StatusCode.UNAVAILABLE),
            "DEPENDENCY_UNAVAILABLE",
            "DEPENDENCY_UNAVAILABLE",
        ),
        (
            failed(None, grpc.StatusCode.INTERNAL),
            "DEPENDENCY_UNAVAILABLE",
            "DEPENDENCY_UNAVAILABLE",
        ),
    ],
)
def test_a_refusal_is_passed_on_where_it_is_about_what_was_asked(
    error: Any, everything: str, some: str
) -> None:
    passed = refusal_of_error(error, "ledger")
    chosen = refusal_of_error(error, "ledger", PASSED)

    assert (passed.reason, chosen.reason) == (everything, some)
    if some == "DEPENDENCY_UNAVAILABLE":
        assert chosen.metadata == {"dependency": "ledger"}


def test_what_is_passed_on_is_said_as_the_other_service_said_it() -> None:
    said = refusal_of_error(failed(MemberNotFound("ada")), "ledger")

    assert (said.message, said.metadata) == ("there is no member 'ada'", {"member": "ada"})


async def test_a_call_has_the_time_that_is_left_or_that_is_given() -> None:
    timeouts: list[float] = []

    async def method(request: Any, timeout: float, metadata: Any) -> str:  # noqa: ASYNC109 - gRPC's
        timeouts.append(timeout)
        if request == "fail":
            raise failed(MemberNotFound("ada"))
        return f"{request} {metadata}"

    assert await answer(method, "ask", (), "ledger", seconds=3.0) == "ask ()"
    await answer(method, "ask", (), "ledger")
    with pytest.raises(Refusal, match="'ada'"):
        await answer(method, "fail", (), "ledger")
    assert timeouts == [3.0, 10.0, 10.0]

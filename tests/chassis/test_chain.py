"""Every way in which the chain refuses, by a real server and a real channel."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest

from chassis import logs
from chassis.call import outgoing_metadata
from chassis.refusals import DependencyUnavailable
from kernel.refusals import FieldViolation, InvalidField, LimitReached, MemberNotFound
from loyalty.ledger.v1 import ledger_pb2
from testkit.keys import metadata, token
from tests.chassis.scripted import (
    SERVICE,
    an_earn,
    drained,
    refused,
    scripted,
    stub,
    unreached,
)

EARN = f"/{SERVICE}/Earn"
HUGE = "x" * 5000
WATCH = ledger_pb2.WatchChangesRequest()

CREDENTIALS: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "no credential": ((), "CREDENTIAL_MISSING"),
    "an empty one": ((("authorization", ""),), "CREDENTIAL_INVALID"),
    "no token after Bearer": ((("authorization", "Bearer "),), "CREDENTIAL_INVALID"),
    "another scheme": ((("authorization", f"Basic {token()}"),), "CREDENTIAL_INVALID"),
    "garbage": ((("authorization", "Bearer a.b.c"),), "CREDENTIAL_INVALID"),
    "dots only": ((("authorization", "Bearer ...."),), "CREDENTIAL_INVALID"),
    "a huge one": ((("authorization", f"Bearer {HUGE}"),), "CREDENTIAL_INVALID"),
    "two of them": (metadata() + metadata(), "CREDENTIAL_INVALID"),
    "an expired one": (metadata(token(now=1_000_000)), "CREDENTIAL_INVALID"),
    "no scope": (metadata(token(scopes=())), "SCOPE_MISSING"),
    "another scope": (metadata(token(scopes=["ledger:read"])), "SCOPE_MISSING"),
    "a member's": (metadata(token(member="m-1", program="acme")), "SCOPE_MISSING"),
    "a member's with the scope": (
        metadata(token(member="m-1", program="acme", scopes=["me", "ledger:write"])),
        "SCOPE_MISSING",
    ),
}


@pytest.mark.parametrize("case", CREDENTIALS)
async def test_who_may_not_call_is_refused_before_the_handler(case: str) -> None:
    presented, reason = CREDENTIALS[case]
    async with scripted(earn=unreached) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(an_earn(), metadata=presented)

    assert refused(caught.value)[1] == reason


@pytest.mark.parametrize("case", CREDENTIALS)
async def test_streams_are_no_way_around_the_credential(case: str) -> None:
    presented, _ = CREDENTIALS[case]
    async with scripted() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(stub(channel).WatchChanges(WATCH, metadata=presented))

    assert refused(caught.value)[0] in {"UNAUTHENTICATED", "PERMISSION_DENIED"}


async def test_a_method_missing_from_the_table_is_denied_to_everybody() -> None:
    request = ledger_pb2.CountRequest(program="p", member="m", request_id="r", counter="c", value=1)
    async with scripted() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Count(request, metadata=metadata())

    assert refused(caught.value)[:2] == ("PERMISSION_DENIED", "SCOPE_MISSING")


OWN = {
    "its own": ("acme", "m-1", None),
    "another member": ("acme", "m-2", "SCOPE_MISSING"),
    "another program": ("other", "m-1", "SCOPE_MISSING"),
    "nobody": ("", "", "SCOPE_MISSING"),
}


@pytest.mark.parametrize("case", OWN)
async def test_a_members_token_reaches_its_own_member_only(case: str) -> None:
    program, member, reason = OWN[case]
    credential = metadata(token(member="m-1", program="acme"))
    request = ledger_pb2.GetAccountRequest(program=program, member=member)
    async with scripted() as (_, channel):
        call = stub(channel).GetAccount(request, metadata=credential)
        if reason is None:
            await call
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call

    assert refused(caught.value)[1] == reason


async def test_a_method_that_is_not_served_is_refused_with_a_status_of_ours() -> None:
    async with scripted() as (_, channel):
        nothing: Any = channel.unary_unary("/loyalty.nothing.v1.Nothing/Do")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await nothing(b"", metadata=metadata())
        with pytest.raises(grpc.aio.AioRpcError) as anonymous:
            await nothing(b"")

    assert refused(caught.value)[:2] == ("UNIMPLEMENTED", "METHOD_NOT_SERVED")
    assert refused(anonymous.value)[1] == "CREDENTIAL_MISSING"


async def test_bytes_that_are_no_message_are_refused() -> None:
    async with scripted(earn=unreached) as (_, channel):
        bare: Any = channel.unary_unary(EARN)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bare(b"\xff\xff\xff", metadata=metadata())

    assert refused(caught.value)[:2] == ("INVALID_ARGUMENT", "UNREADABLE_BODY")


async def test_a_message_above_the_limit_is_refused_with_the_limit() -> None:
    request = an_earn(reference="x" * 1500)
    async with scripted(earn=unreached, max_message_bytes=1024) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(request, metadata=metadata())

    assert refused(caught.value)[1:3] == ("MESSAGE_TOO_LARGE", {"limit": "1024"})


async def test_every_broken_field_is_named() -> None:
    request = an_earn(program="a b", points=0, reference="a\x00b")
    async with scripted(earn=unreached) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(request, metadata=metadata())

    code, reason, details, fields = refused(caught.value)
    assert (code, reason, details) == ("INVALID_ARGUMENT", "INVALID_FIELD", {"field": "program"})
    assert fields == ["program", "points", "reference"]


async def test_a_thousand_broken_fields_still_arrive_as_a_refusal() -> None:
    request = ledger_pb2.BatchPostRequest(
        program="p", requests=[ledger_pb2.PostRequest(member="ü" * 300)] * 1000
    )
    async with scripted() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).BatchPost(request, metadata=metadata())

    assert refused(caught.value)[1] == "INVALID_FIELD"
    assert refused(caught.value)[3][0] == "requests[0].member"


async def test_a_rule_that_annotations_cannot_say_is_checked_with_the_shape() -> None:
    def odd(request: Any) -> list[FieldViolation]:
        return [FieldViolation("points", "must be even")] if request.points % 2 else []

    async with scripted(shapes={EARN: odd}) as (_, channel):
        await stub(channel).Earn(an_earn(points=4), metadata=metadata())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(an_earn(points=5), metadata=metadata())

    assert refused(caught.value)[3] == ["points"]


REFUSALS = {
    "a missing member": (MemberNotFound("m-1"), "NOT_FOUND", {"member": "m-1"}),
    "a limit": (
        LimitReached("promotions.max_active", 50, 50),
        "FAILED_PRECONDITION",
        {"limit_name": "promotions.max_active", "limit": "50", "count": "50"},
    ),
    "a dependency": (DependencyUnavailable("ledger"), "UNAVAILABLE", {"dependency": "ledger"}),
    "a field": (
        InvalidField(FieldViolation("a.b[0]", "is odd")),
        "INVALID_ARGUMENT",
        {"field": "a.b[0]"},
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_what_a_handler_refuses_arrives_as_it_was_said(case: str) -> None:
    refusal, code, details = REFUSALS[case]

    async def refuse(_request: Any, _context: Any) -> Any:
        raise refusal

    async with scripted(earn=refuse) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(an_earn(), metadata=metadata())

    assert refused(caught.value)[:3] == (code, refusal.reason, details)
    assert caught.value.details() == refusal.message


BROKEN: dict[str, tuple[Exception, str]] = {
    "a bug": (KeyError("secret"), "FAULT"),
    "an assertion": (AssertionError("secret"), "FAULT"),
    "a database that closed the connection": (
        asyncpg.ConnectionDoesNotExistError("secret"),
        "DEPENDENCY_UNAVAILABLE",
    ),
    "a database that starts": (asyncpg.CannotConnectNowError("secret"), "DEPENDENCY_UNAVAILABLE"),
    "a pool without a free connection": (TimeoutError("secret"), "DEPENDENCY_UNAVAILABLE"),
    "a refused connection": (ConnectionRefusedError("secret"), "DEPENDENCY_UNAVAILABLE"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_breaks_inside_says_nothing_outside(case: str) -> None:
    error, reason = BROKEN[case]

    async def break_down(_request: Any, _context: Any) -> Any:
        raise error

    async def break_later(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield ledger_pb2.WatchChangesResponse()
        raise error

    async with scripted(break_down, break_later) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(an_earn(), metadata=metadata())
        with pytest.raises(grpc.aio.AioRpcError) as streamed:
            await drained(stub(channel).WatchChanges(WATCH, metadata=metadata()))

    for each in (caught.value, streamed.value):
        assert refused(each)[1] == reason
        assert "secret" not in str(each)


async def test_an_answer_of_the_wrong_kind_is_a_fault() -> None:
    async def wrong(_request: Any, _context: Any) -> Any:
        return "no message"

    async with scripted(earn=wrong) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(an_earn(), metadata=metadata())

    assert refused(caught.value)[1] == "FAULT"


async def test_the_id_of_a_fault_finds_the_traceback_in_the_log() -> None:
    async def break_down(_request: Any, _context: Any) -> Any:
        raise KeyError("where it broke")

    lines = io.StringIO()
    logs.configure(service="test", stream=lines)
    try:
        async with scripted(earn=break_down) as (_, channel):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub(channel).Earn(an_earn(), metadata=metadata())
    finally:
        logs.configure(service="test", level="ERROR")

    fault_id = refused(caught.value)[2]["id"]
    entries = [json.loads(each) for each in lines.getvalue().splitlines()]
    (line,) = [each for each in entries if "fault_id" in each]
    assert line["fault_id"] == fault_id
    assert "where it broke" in line["exception"]


async def test_a_refusal_of_a_service_behind_is_passed_on() -> None:
    async def refuse(_request: Any, _context: Any) -> Any:
        raise MemberNotFound("m-1")

    async with scripted(earn=refuse) as (_, behind):

        async def ask(request: Any, _context: Any) -> Any:
            return await stub(behind).Earn(request, metadata=outgoing_metadata())

        async with scripted(earn=ask) as (_, channel):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub(channel).Earn(an_earn(), metadata=metadata())

    assert refused(caught.value)[:3] == ("NOT_FOUND", "MEMBER_NOT_FOUND", {"member": "m-1"})

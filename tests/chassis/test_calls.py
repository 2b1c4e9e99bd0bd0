"""What a call may count on: its identity, its deadline, its place, its line in the log."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from chassis import logs
from chassis.call import current_call, log_fields, outgoing_metadata, remaining_seconds
from chassis.identity import Identity, current_identity
from chassis.metrics import REGISTRY
from kernel.refusals import MemberNotFound
from loyalty.ledger.v1 import ledger_pb2
from testkit.keys import metadata, token
from tests.chassis.scripted import (
    SERVICE,
    an_earn,
    answer,
    ended,
    refused,
    scripted,
    stub,
    unreached,
)

EARN = f"/{SERVICE}/Earn"
HUGE = "x" * 5000
WATCH = ledger_pb2.WatchChangesRequest()


async def test_the_handler_knows_who_calls_until_when_and_in_which_trace() -> None:
    seen: list[Any] = []

    async def look(request: Any, context: Any) -> Any:
        call = current_call()
        assert call is not None
        seen.extend([current_identity(), remaining_seconds(), call.trace, outgoing_metadata()])
        return await answer(request, context)

    signed = token(organization="org-7", scopes=["ledger:write"], actor="till")
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with scripted(earn=look) as (_, channel):
        await stub(channel).Earn(
            an_earn(), metadata=(*metadata(signed), ("traceparent", parent)), timeout=3.0
        )

    identity, remaining, trace, outgoing = seen
    assert identity == Identity("org-7", frozenset({"ledger:write"}), "till")
    assert 2.0 < remaining < 3.1
    assert trace.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace.span_id != "00f067aa0ba902b7"
    assert dict(outgoing) == {"authorization": f"Bearer {signed}", "traceparent": trace.header()}


async def test_a_caller_without_a_deadline_gets_ours() -> None:
    seen: list[float] = []

    async def look(request: Any, context: Any) -> Any:
        seen.append(remaining_seconds(default=99.0))
        return await answer(request, context)

    async with scripted(earn=look, default_deadline_seconds=7.0) as (_, channel):
        await stub(channel).Earn(an_earn(), metadata=metadata())

    assert 6.0 < seen[0] < 7.1


async def test_a_deadline_that_has_passed_is_refused_before_the_handler() -> None:
    async with scripted(earn=unreached, default_deadline_seconds=1e-9) as (server, channel):
        context = _Context(remaining=0.0)
        enter = await _handler_of(server, EARN)
        with pytest.raises(grpc.aio.AbortError):
            await enter(an_earn().SerializeToString(), context)

    assert context.aborted[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel is not None


async def test_one_call_more_than_the_limit_is_refused_at_once_and_the_count_comes_back() -> None:
    release = asyncio.Event()

    async def wait(request: Any, context: Any) -> Any:
        await release.wait()
        return await answer(request, context)

    async with scripted(earn=wait, max_in_flight=3) as (_, channel):
        calls = [stub(channel).Earn(an_earn(), metadata=metadata()) for _ in range(10)]
        answers = {asyncio.ensure_future(ended(call)) for call in calls}
        done: set[asyncio.Future[str]] = set()
        waiting = answers
        while len(done) < 7:
            some, waiting = await asyncio.wait(
                waiting, timeout=30.0, return_when=asyncio.FIRST_COMPLETED
            )
            assert some
            done |= some
        # Whoever was let in waits; a moment shows that no other is answered.
        await asyncio.wait(waiting, timeout=0.2)
        assert [each.result() for each in done] == ["OVERLOADED"] * 7
        assert [each.done() for each in waiting] == [False] * 3
        release.set()
        assert {await each for each in waiting} == {"OK"}
        assert await ended(stub(channel).Earn(an_earn(), metadata=metadata())) == "OK"


async def test_what_is_too_much_is_refused_before_it_is_read() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, context: Any) -> Any:
        begun.set()
        await release.wait()
        return await answer(request, context)

    async with scripted(earn=wait, max_in_flight=1) as (_, channel):
        raw: Any = channel.unary_unary(EARN)
        served = asyncio.ensure_future(ended(stub(channel).Earn(an_earn(), metadata=metadata())))
        await begun.wait()
        full = await ended(raw(b"\xff no message", metadata=metadata()))
        stranger = await ended(raw(b"\xff no message"))
        release.set()
        assert await served == "OK"
        read = await ended(raw(b"\xff no message", metadata=metadata()))

    assert (full, stranger, read) == ("OVERLOADED", "CREDENTIAL_MISSING", "UNREADABLE_BODY")


async def test_cancelled_calls_give_their_place_back() -> None:
    async def wait(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(60)

    async with scripted(earn=wait, max_in_flight=1) as (_, channel):
        for _ in range(3):
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            async with asyncio.timeout(30):
                # The server may hear a little later than the caller that the call is over.
                while code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await stub(channel).Earn(an_earn(), metadata=metadata(), timeout=0.1)
                    code = caught.value.code()
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_refusal_that_nobody_waits_for_any_more_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, refused = asyncio.Event(), asyncio.Event()

    async def late(_request: Any, _context: Any) -> Any:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            refused.set()
            raise MemberNotFound("m-1")

    async with scripted(earn=late) as (_, channel):
        call = asyncio.ensure_future(stub(channel).Earn(an_earn(), metadata=metadata()))
        await begun.wait()
        call.cancel()
        await asyncio.wait_for(refused.wait(), 30)
        await asyncio.sleep(0.1)

    assert [record.getMessage() for record in caplog.records] == []


async def test_streams_have_a_limit_of_their_own() -> None:
    async def forever(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield ledger_pb2.WatchChangesResponse()
        await asyncio.sleep(60)

    request = ledger_pb2.WatchChangesRequest()
    async with scripted(watch=forever, max_streams=1, max_in_flight=1) as (_, channel):
        first = stub(channel).WatchChanges(request, metadata=metadata())
        assert await anext(aiter(first)) is not None
        second = stub(channel).WatchChanges(request, metadata=metadata())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(second))
        assert refused(caught.value)[1] == "OVERLOADED"
        await stub(channel).Earn(an_earn(), metadata=metadata())
        first.cancel()


async def test_a_stream_ends_when_its_credential_does() -> None:
    async def often(_request: Any, _context: Any) -> AsyncIterator[Any]:
        while True:
            yield ledger_pb2.WatchChangesResponse()
            await asyncio.sleep(0.05)

    async with scripted(watch=often) as (_, channel):
        call = stub(channel).WatchChanges(
            ledger_pb2.WatchChangesRequest(), metadata=metadata(token(lifetime_seconds=2))
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(10):
                _ = [response async for response in call]

    assert refused(caught.value)[1] == "CREDENTIAL_INVALID"


async def test_a_line_of_the_log_has_ids_and_neither_token_nor_payload() -> None:
    async def note(request: Any, context: Any) -> Any:
        log_fields(posting="0190-posting")
        return await answer(request, context)

    lines = io.StringIO()
    logs.configure(service="test", stream=lines)
    signed = token()
    try:
        async with scripted(earn=note) as (_, channel):
            await stub(channel).Earn(an_earn(reference="order of Ann"), metadata=metadata(signed))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub(channel).Earn(an_earn(member="a\nb"), metadata=metadata(signed))
    finally:
        logs.configure(service="test", level="ERROR")

    entries = [json.loads(line) for line in lines.getvalue().splitlines()]
    served, denied = (each for each in entries if each["event"] == "call")
    assert (served["method"], served["code"], served["reason"]) == (EARN, "OK", "")
    assert (served["member"], served["request_id"]) == ("m-1", "r-1")
    assert served["posting"] == "0190-posting"
    assert (denied["code"], denied["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert "member" not in denied
    assert "Ann" not in lines.getvalue()
    assert signed not in lines.getvalue()


async def test_calls_are_counted_by_method_code_and_reason() -> None:
    labels = {"service": "counted", "method": EARN, "code": "NOT_FOUND"}

    async def refuse(_request: Any, _context: Any) -> Any:
        raise MemberNotFound("m-1")

    async with scripted(earn=refuse, name="counted") as (_, channel):
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub(channel).Earn(an_earn(), metadata=metadata())

    counted = REGISTRY.get_sample_value(
        "loyalty_calls_total", {**labels, "reason": "MEMBER_NOT_FOUND"}
    )
    assert counted == 3.0


async def test_hostile_metadata_is_refused_or_ignored() -> None:
    async with scripted() as (_, channel):
        hostile: Any = (
            *metadata(),
            ("traceparent", "00-" + "z" * 52),
            ("x-anything", "y" * 2000),
            ("blob-bin", b"\x00\xff" * 100),
        )
        await stub(channel).Earn(an_earn(), metadata=hostile)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).Earn(
                an_earn(), metadata=(("authorization", "Bearer " + "x" * 100_000),)
            )
        assert caught.value.code() is not grpc.StatusCode.INTERNAL
        await stub(channel).Earn(an_earn(), metadata=metadata())


class _Context:
    """Only what a network cannot be made to do in time: a deadline that has passed already."""

    def __init__(self, remaining: float) -> None:
        self.remaining = remaining
        self.aborted: tuple[Any, ...] = ()

    def time_remaining(self) -> float:
        return self.remaining

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return metadata()

    async def abort(self, *answered: Any) -> None:
        self.aborted = answered
        raise grpc.aio.AbortError


async def _handler_of(server: Any, name: str) -> Any:
    interceptor = server._interceptor
    method = interceptor._methods[name]
    from chassis.chain import entrance, unary

    handler = unary(unreached, ledger_pb2.EarnResponse.SerializeToString)
    return entrance(method, interceptor.chain.compose(method, handler))

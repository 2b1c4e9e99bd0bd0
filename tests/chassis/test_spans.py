"""Spans reach a collector with the ids of the log, and only those that somebody wants to see."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2

from chassis import spans
from chassis.tracing import begin_trace, set_sample
from kernel.refusals import MemberNotFound
from testkit.keys import metadata
from tests.chassis.collector import Collector, collecting
from tests.chassis.scripted import SERVICE, an_earn, answer, ended, scripted, stub

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01"),)
UNSAMPLED = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-00"),)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as served:
        yield served


async def test_a_call_in_a_sampled_trace_is_told_with_its_caller_and_its_refusal(
    collector: Collector,
) -> None:
    async def refuse(_request: Any, _context: Any) -> Any:
        raise MemberNotFound("m-1")

    spans.configure(service="test", endpoint=collector.address, sample=0.0)
    async with scripted(earn=answer) as (_, channel):
        await stub(channel).Earn(an_earn(), metadata=(*metadata(), *SAMPLED))
        await stub(channel).Earn(an_earn(), metadata=(*metadata(), *UNSAMPLED))
        await stub(channel).Earn(an_earn(), metadata=metadata())
    async with scripted(earn=refuse) as (_, channel):
        await ended(stub(channel).Earn(an_earn(), metadata=(*metadata(), *SAMPLED)))
    await asyncio.to_thread(spans.close)

    assert collector.services == {"test"}
    assert len(collector.spans) == 2
    for span in collector.spans:
        assert (span.name, span.kind) == (f"{SERVICE}/Earn", trace_pb2.Span.SPAN_KIND_SERVER)
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10e9
        # A rule that says no is an answer.
        assert span.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    said = [
        {each.key: each.value.string_value for each in span.attributes} for span in collector.spans
    ]
    assert [each["rpc.response.status_code"] for each in said] == ["OK", "NOT_FOUND"]
    assert said[1]["loyalty.reason"] == "MEMBER_NOT_FOUND"
    assert said[0]["loyalty.member"] == "m-1"


async def test_a_share_of_the_traces_that_begin_here_is_sampled(collector: Collector) -> None:
    async def fault(_request: Any, _context: Any) -> Any:
        raise ValueError("a mistake of ours")

    spans.configure(service="test", endpoint=collector.address, sample=1.0)
    async with scripted(earn=fault) as (_, channel):
        await ended(stub(channel).Earn(an_earn(), metadata=metadata()))
    await asyncio.to_thread(spans.close)

    (span,) = collector.spans
    assert span.parent_span_id == b""
    assert span.status.code == trace_pb2.Status.STATUS_CODE_ERROR


async def test_a_collector_that_is_away_costs_no_call_anything() -> None:
    spans.configure(service="test", endpoint="http://127.0.0.1:1", sample=1.0)
    async with scripted(earn=answer) as (_, channel):
        for _ in range(20):
            await stub(channel).Earn(an_earn(), metadata=metadata(), timeout=2)
    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(spans.close)

    assert asyncio.get_running_loop().time() - began < 10


def test_without_a_collector_no_trace_is_sampled_and_a_callers_is_passed_on() -> None:
    spans.configure(service="test", endpoint="", sample=1.0)
    own, theirs = begin_trace(None), begin_trace(SAMPLED[0][1])

    assert not own.sampled
    assert (theirs.sampled, theirs.parent_id, theirs.trace_id) == (True, PARENT_ID, TRACE_ID)
    assert theirs.header().endswith("-01")
    set_sample(1.0)
    try:
        assert begin_trace(None).sampled
    finally:
        set_sample(0.0)

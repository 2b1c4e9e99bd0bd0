"""A request's spans hang together: the caller's, ours, and that of the service behind us."""

import asyncio

import httpx

from chassis import spans
from tests.chassis.collector import collecting
from tests.gateway.gateway_kit import FakeSuite

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"


async def test_a_request_is_the_parent_of_the_call_that_answers_it(
    client: httpx.AsyncClient, fakes: FakeSuite
) -> None:
    async with collecting() as collector:
        spans.configure(service="gateway", endpoint=collector.address, sample=0.0)
        answer = await client.get(
            "/v1/programs/p/members/m1/account",
            headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"},
        )
        await asyncio.to_thread(spans.close)
        by_name = {span.name: span for span in collector.spans}

    assert answer.status_code == 200, answer.text
    request = by_name["GET /v1/programs/{program}/members/{member}/account"]
    call = by_name["loyalty.ledger.v1.LedgerService/GetAccount"]
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
    assert request.parent_span_id.hex() == PARENT_ID
    assert call.parent_span_id == request.span_id
    said = {each.key: each.value.string_value for each in request.attributes}
    assert said["http.response.status_code"] == "200"

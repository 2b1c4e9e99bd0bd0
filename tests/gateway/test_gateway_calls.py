"""Calls through the gateway: what the service sees, what the caller gets."""

from typing import Any

import httpx
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.refusals import Refusal
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.gateway.__main__ import Ports
from tests.gateway.gateway_kit import FakeService

MEMBER = "/v1/programs/p/members/m1"


async def test_an_earning_reaches_the_ledger_with_path_body_and_key(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    ledger.answers["Earn"] = lambda request, _: ledger_pb2.EarnResponse(
        posting=resources_pb2.Posting(posting="x", entries=[resources_pb2.Entry(points=250)])
    )
    answer = await client.post(
        f"{MEMBER}:earn",
        json={"points": "250", "reference": "order 4711"},
        headers={"idempotency-key": '"till-7-000123"'},
    )

    assert answer.status_code == 200
    assert ledger.last == ledger_pb2.EarnRequest(
        program="p", member="m1", request_id="till-7-000123", points=250, reference="order 4711"
    )
    entry = answer.json()["posting"]["entries"][0]
    assert (entry["points"], entry["requested"], entry["kind"]) == ("250", "0", "KIND_UNSPECIFIED")
    assert answer.json()["replayed"] is False
    assert "account" not in answer.json()


class InsufficientPoints(Refusal):
    reason = "INSUFFICIENT_POINTS"


async def test_a_refusal_is_a_problem_with_its_numbers(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    def refuse(request: Any, _: Any) -> Any:
        raise InsufficientPoints("fewer points", available=5, required=10, shortfall=5)

    ledger.answers["Redeem"] = refuse
    answer = await client.post(
        f"{MEMBER}:redeem", json={"points": 10, "request_id": "r"}, headers={"traceparent": TRACE}
    )
    body = answer.json()

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["traceparent"].split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert body == {
        "type": "/problems#INSUFFICIENT_POINTS",
        "title": "Insufficient points",
        "status": 409,
        "detail": "fewer points",
        "reason": "INSUFFICIENT_POINTS",
        "metadata": {"available": "5", "required": "10", "shortfall": "5"},
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    }


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_fault_of_a_service_says_nothing_but_an_id(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    def fail(request: Any, _: Any) -> Any:
        raise RuntimeError("secret of the database")

    ledger.answers["GetAccount"] = fail
    answer = await client.get(f"{MEMBER}/account")

    assert answer.status_code == 500
    assert answer.json()["reason"] == "FAULT"
    assert answer.json()["metadata"]["id"]
    assert "secret" not in answer.text


async def test_the_trace_goes_on_and_the_key_does_not(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    await client.get(f"{MEMBER}/account", headers={"traceparent": TRACE})
    metadata = ledger.seen[-1][2]

    assert metadata["traceparent"].split("-")[1] == TRACE.split("-")[1]
    assert metadata["authorization"].startswith("Bearer ey")


async def test_violations_name_their_fields(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{MEMBER}:earn", json={})
    fields = [violation["field"] for violation in answer.json()["violations"]]

    assert answer.status_code == 400
    assert set(fields) == {"request_id", "points"}


async def test_a_deadline_is_passed_on_and_bounded(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    left: list[float] = []

    def note(request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        return resources_pb2.Account(read_time=Timestamp(seconds=1))

    ledger.answers["GetAccount"] = note
    for header in ({}, {"x-request-timeout": "2.5"}, {"x-request-timeout": "9999"}):
        await client.get(f"{MEMBER}/account", headers=header)

    assert [round(seconds) for seconds in left[:1]] == [10]
    assert 2 < left[1] < 2.6
    assert 58 < left[2] < 60.1


async def test_a_deadline_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    for text in ("0", "-1", "soon", "nan", "1e3", "0.0"):
        answer = await client.get(f"{MEMBER}/account", headers={"x-request-timeout": text})

        assert answer.status_code == 400, text
        assert answer.json()["metadata"] == {"field": "X-Request-Timeout"}


async def test_a_slow_service_is_a_passed_deadline(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    import asyncio

    async def sleep(request: Any, _: Any) -> Any:
        await asyncio.sleep(2)
        return resources_pb2.Account()

    ledger.answers["GetAccount"] = sleep
    answer = await client.get(f"{MEMBER}/account", headers={"x-request-timeout": "0.2"})

    assert (answer.status_code, answer.json()["reason"]) == (504, "DEADLINE_PASSED")


async def test_head_is_get_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.head(f"{MEMBER}/account")

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 10
    assert answer.content == b""


async def test_a_route_that_is_none_is_not_found(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/v1/nothing"),
        ("GET", "/v1/"),
        ("PUT", "/v1/programs"),
        ("GET", f"{MEMBER}:earn"),
        ("POST", f"{MEMBER}:eat"),
        ("GET", f"{MEMBER}:1"),
        ("GET", "/v1/programs/"),
        ("GET", "/v1/programs//members"),
        ("GET", "/nothing"),
        ("DELETE", "/docs"),
    ):
        answer = await client.request(method, path)

        assert (answer.status_code, answer.json()["reason"]) == (404, "ROUTE_NOT_FOUND"), path


async def test_a_large_batch_goes_through_whole(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    ledger.answers["BatchPost"] = lambda request, _: ledger_pb2.BatchPostResponse(
        results=[
            ledger_pb2.BatchPostResult(posting=resources_pb2.Posting(member=item.member))
            for item in request.requests
        ]
    )
    requests = [
        {"member": f"m{index}", "requestId": "r", "operations": [{"earn": {"points": 1}}]}
        for index in range(1000)
    ]
    answer = await client.post("/v1/programs/p/postings:batch", json={"requests": requests})

    assert answer.status_code == 200
    assert [one["posting"]["member"] for one in answer.json()["results"]][-1] == "m999"


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient, ports: Ports) -> None:
    for body in (b"x" * (4 * 1024 * 1024 + 1), _chunks(5 * 1024 * 1024)):
        answer = await client.post(f"{MEMBER}:earn", content=body)

        assert (answer.status_code, answer.json()["reason"]) == (413, "MESSAGE_TOO_LARGE")
        assert answer.json()["metadata"] == {"limit": str(4 * 1024 * 1024)}


async def _chunks(size: int) -> Any:
    for _ in range(size // 65536):
        yield b"x" * 65536


async def test_a_call_without_a_credential_is_refused(ports: Ports) -> None:
    async with httpx.AsyncClient(trust_env=False) as bare:
        answer = await bare.get(f"http://127.0.0.1:{ports.http}/v1/programs")

    assert (answer.status_code, answer.json()["reason"]) == (401, "CREDENTIAL_MISSING")
    assert answer.headers["www-authenticate"].startswith("Bearer")

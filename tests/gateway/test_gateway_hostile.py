"""Every route with bad and random input: a clear problem each time, never a 5xx."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.gateway.__main__ import Ports
from services.gateway.http.routes import body_shape
from testkit import keys
from tests.gateway.gateway_kit import ADMIN
from tests.gateway.hostile_kit import ROUTES, WRONG, ask, ask_at_random


@pytest.mark.parametrize("name", ROUTES)
async def test_bad_bodies_are_clear_problems(client: httpx.AsyncClient, name: str) -> None:
    route = ROUTES[name]
    for content in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}" * 2, b"[" * 50_000, b'{"":1}'):
        answer = await ask(client, route, content)
        if content not in {b"", b"{}"}:
            assert (answer.status_code, answer.json()["reason"]) == (422, "UNREADABLE_BODY")


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.body])
async def test_every_field_with_every_wrong_value(client: httpx.AsyncClient, name: str) -> None:
    route = ROUTES[name]
    for field in body_shape(route.rpc, route.body).fields:
        for value in WRONG:
            body = {field.json_name: value}
            try:
                content = json.dumps(body).encode()
            except (ValueError, UnicodeEncodeError):
                continue
            await ask(client, route, content)


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if not route.body])
async def test_every_parameter_with_every_wrong_value(client: httpx.AsyncClient, name: str) -> None:
    route = ROUTES[name]
    names = [field.name for field in route.rpc.input_type.fields]
    for parameter in (*names, "unknown", "", "a.b", "windows[0].counter", "%ff", "program.x"):
        for value in (
            "",
            "x",
            "-1",
            "%00",
            "%ff",
            "1e9",
            "true",
            "[]",
            "{}",
            "9" * 400,
            "%E2%98%83",
        ):
            answer = await ask(client, route, query=f"?{parameter}={value}")
            if parameter in {"unknown", "a.b"} | route.bound:
                assert answer.status_code == 400


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.body])
async def test_random_objects_of_the_requests_shape(client: httpx.AsyncClient, name: str) -> None:
    await ask_at_random(client, ROUTES[name], 40, "20260131")


# Servers in this process draw numbers while requests are generated in another thread.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
async def test_the_gateway_agrees_with_its_own_description(
    client: httpx.AsyncClient, ports: Ports
) -> None:
    document = (await client.get("/openapi.json")).json()
    await asyncio.to_thread(run_schemathesis, document, f"http://127.0.0.1:{ports.http}")


def run_schemathesis(document: dict[str, Any], base_url: str) -> None:
    schema = schemathesis.openapi.from_dict(document)
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        mine = operation.path.startswith("/v1/me")
        credential = keys.token(member="m1", program="p") if mine else ADMIN
        header = {"authorization": f"Bearer {credential}"}

        @given(case=operation.as_strategy())
        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def agree(case: Any) -> None:
            response = case.call(base_url=base_url, headers=header, timeout=60)  # noqa: B023 - called at once
            # Who gives a call a few milliseconds is told so where the machine is busy.
            hasty = "X-Request-Timeout" in (case.headers or {})
            if not (hasty and response.status_code == 504):
                case.validate_response(response, checks=checks)

        agree()

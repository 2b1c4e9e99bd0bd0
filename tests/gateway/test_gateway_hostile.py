"""Every route with bad and random input: a clear problem each time, never a 5xx."""

import asyncio
import json
import random
from typing import Any

import httpx
import pytest
import schemathesis
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.routes import Route, routes_of
from tests.gateway.conftest import ADMIN
from testkit import keys

ROUTES = {f"{route.method} {route.template.text}": route for route in routes_of(EXPOSED)}
WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 10**30, -(2**63) - 1, "", " ", "x", "\x00", "é" * 50),
    *("A" * 100_000, [], [[]], [None], {}, {"a": {}}, "\ud800", "0001-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59.999999999Z", "NaN", "-0", "../..", "'; DROP TABLE entry; --"),
)


def path_of(route: Route, member: str = "m1") -> str:
    posting = "018f0000-0000-7000-8000-000000000000"
    return (
        route.template.text.replace("{program}", "p")
        .replace("{member}", member)
        .replace("{posting}", posting)
    )


def headers_of(route: Route) -> dict[str, str]:
    credential = keys.token(member="m1", program="p") if route.mine else ADMIN
    return {"authorization": f"Bearer {credential}"}


async def ask(
    client: httpx.AsyncClient, route: Route, content: bytes | None = None, query: str = ""
) -> httpx.Response:
    answer = await client.request(
        route.method,
        path_of(route) + query,
        content=content,
        headers=headers_of(route),
        timeout=20,
    )

    assert answer.status_code < 500, (content or query, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["reason"]
        assert problem["detail"]
        assert problem["status"] == answer.status_code
    return answer


@pytest.mark.parametrize("name", ROUTES)
async def test_bad_bodies_are_clear_problems(client, name):
    route = ROUTES[name]
    for content in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}" * 2, b"[" * 50_000, b'{"":1}'):
        answer = await ask(client, route, content)
        if content not in {b"", b"{}"}:
            assert (answer.status_code, answer.json()["reason"]) == (422, "UNREADABLE_BODY")


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.body])
async def test_every_field_with_every_wrong_value(client, name):
    route = ROUTES[name]
    for field in route.rpc.input_type.fields:
        for value in WRONG:
            body = {field.json_name: value}
            try:
                content = json.dumps(body).encode()
            except (ValueError, UnicodeEncodeError):
                continue
            await ask(client, route, content)


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if not route.body])
async def test_every_parameter_with_every_wrong_value(client, name):
    route = ROUTES[name]
    names = [field.name for field in route.rpc.input_type.fields]
    for parameter in (*names, "unknown", "", "a.b", "windows[0].counter", "%ff", "program.x"):
        for value in ("", "x", "-1", "%00", "%ff", "1e9", "true", "[]", "{}", "9" * 400, "%E2%98%83"):
            answer = await ask(client, route, query=f"?{parameter}={value}")
            if parameter in {"unknown", "a.b", "program", "member"}:
                assert answer.status_code == 400


def random_value(source: random.Random, field: FieldDescriptor, depth: int) -> Any:
    """Something that fits the field, or something that does not."""
    if source.random() < 0.15:
        return source.choice(WRONG)
    if field.is_repeated:
        return [random_single(source, field, depth) for _ in range(source.randrange(3))]
    return random_single(source, field, depth)


def random_single(source: random.Random, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return source.choice(["2026-01-01T00:00:00Z", "1899-01-01T00:00:00Z", "x"])
        return random_object(source, field.message_type, depth + 1)
    if field.enum_type is not None:
        return source.choice([*field.enum_type.values_by_name, 0, 1, 99])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return source.random() < 0.5
    if field.type == FieldDescriptor.TYPE_STRING:
        return source.choice(["p", "m1", "", "x" * 300, "a b", "points", "0.01", "\x00"])
    return source.choice([0, 1, -1, "5", 10**15, 10**15 + 1, 2**63, 1.0, 0.5])


def random_object(source: random.Random, descriptor: Descriptor, depth: int = 0) -> dict[str, Any]:
    if depth > 4:
        return {}
    return {
        source.choice([field.name, field.json_name]): random_value(source, field, depth)
        for field in descriptor.fields
        if source.random() < 0.7
    }


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.body])
async def test_random_objects_of_the_requests_shape(client, name):
    route = ROUTES[name]
    seed = 20260131
    print(f"seed {seed}")
    source = random.Random(f"{seed} {name}")
    for _ in range(40):
        content = json.dumps(random_object(source, route.rpc.input_type)).encode()
        await ask(client, route, content)


async def test_the_gateway_agrees_with_its_own_description(client, ports):
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
            response = case.call(base_url=base_url, headers=header, timeout=20)
            case.validate_response(response, checks=checks)

        agree()

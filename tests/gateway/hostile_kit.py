"""Bad and random requests for every route, and what must be true of every answer."""

import json
import random
from typing import Any

import httpx
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.routes import Route, body_shape, routes_of
from testkit import keys
from tests.gateway.gateway_kit import ADMIN

ROUTES = {f"{route.method} {route.template.text}": route for route in routes_of(EXPOSED)}
WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 10**30, -(2**63) - 1, "", " ", "x", "\x00", "é" * 50),
    *("A" * 100_000, [], [[]], [None], {}, {"a": {}}, "\ud800", "0001-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59.999999999Z", "NaN", "-0", "../..", "'; DROP TABLE entry; --"),
)


# What stands for the variables of paths, where their names with a number would not do. The journeys
# make most of these.
NAMED = {
    "program": "p",
    "member": "m1",
    "posting": "018f0000-0000-7000-8000-000000000000",
    "hold": "018f0000-0000-7000-8000-000000000001",
    "revision": "1",
    "event": "e1",
    "rule": "r1",
    "ladder": "l1",
    "audience": "a1",
}


def path_of(route: Route, member: str = "m1") -> str:
    values = {**NAMED, "member": member}
    path = route.template.text
    for name in route.template.variables:
        path = path.replace(f"{{{name}}}", values.get(name, f"{name}-1"))
    return path


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


async def ask_at_random(client: httpx.AsyncClient, route: Route, times: int, seed: str) -> None:
    """Ask with random objects of the request's shape."""
    print(f"seed {seed}")
    source = random.Random(f"{seed} {route.full_method}")
    for _ in range(times):
        content = json.dumps(random_object(source, body_shape(route.rpc, route.body))).encode()
        await ask(client, route, content)

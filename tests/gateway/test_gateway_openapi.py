"""The OpenAPI description, the pages, and what a stranger's random input does."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from kernel.refusals import REASONS
from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.comments import DESCRIPTORS
from services.gateway.http.routes import routes_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    from services.gateway.__main__ import VERSION
    from services.gateway.http.comments import comments
    from services.gateway.http.openapi import describe

    made: dict[str, Any] = json.loads(
        json.dumps(describe(list(routes_of(EXPOSED)), comments(), VERSION))
    )
    return made


def test_the_description_is_openapi_3_1(document: dict[str, Any]) -> None:
    from schemathesis.specs.openapi.definitions import OPENAPI_31

    errors = [
        str(error) for error in jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(document)
    ]

    assert errors == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        node: Any = document
        for part in reference.split("/"):
            node = node[part]

        assert node


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        ), name


def test_every_route_is_described_and_every_operation_has_its_own_name(
    document: dict[str, Any],
) -> None:
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]

    assert described == {(route.method, route.template.text) for route in routes_of(EXPOSED)}
    assert len(names) == len(set(names))


def test_comments_and_bounds_are_those_of_the_protos(document: dict[str, Any]) -> None:
    earn = document["paths"]["/v1/programs/{program}/members/{member}:earn"]["post"]
    body = earn["requestBody"]["content"]["application/json"]["schema"]
    listing = document["paths"]["/v1/programs/{program}/members/{member}/entries"]["get"]
    parameters = {each["name"]: each for each in listing["parameters"]}

    assert earn["summary"] == "Gives points"
    assert "POINTS_OVERFLOW" in earn["description"]
    assert body["required"] == ["points"]
    assert "program" not in body["properties"]
    assert body["properties"]["points"]["minimum"] == 1
    assert body["properties"]["points"]["maximum"] == 10**15
    assert body["properties"]["points"]["type"] == "string"
    assert body["properties"]["reference"]["maxLength"] == 200
    assert parameters["pageSize"]["schema"]["maximum"] == 1000
    assert parameters["member"]["schema"]["pattern"] == "^[!-.0-~]{1,128}$"
    assert {"program", "member"} & {
        each["name"] for each in document["paths"]["/v1/me/entries"]["get"]["parameters"]
    } == set()
    assert document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"] == list(
        REASONS
    )


def test_everything_that_is_described_has_a_description(document: dict[str, Any]) -> None:
    def missing(node: Any, path: str) -> list[str]:
        found = []
        if isinstance(node, dict):
            for name, schema in node.get("properties", {}).items():
                if "problem" not in path.lower() and "description" not in schema:
                    found.append(f"{path}.{name}")
            for key, value in node.items():
                found += missing(value, f"{path}.{key}")
        return found

    assert missing(document["components"]["schemas"], "") == []


def test_the_committed_descriptors_are_those_of_the_protos(tmp_path: Path) -> None:
    made = tmp_path / "descriptors.binpb"
    protos = sorted(
        str(path.relative_to(ROOT / "protos"))
        for path in (ROOT / "protos/loyalty").rglob("*.proto")
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "--proto_path=protos"),
            *("--include_imports", "--include_source_info", f"--descriptor_set_out={made}"),
            *protos,
        ],
        cwd=ROOT,
        check=True,
        timeout=60,
    )

    assert made.read_bytes() == DESCRIPTORS.read_bytes(), "run `make generate`"


def shapes(file: descriptor_pb2.FileDescriptorProto) -> list[Any]:
    """The messages with their fields, without what only one of the compilers writes down."""
    return [
        (message.name, [(field.name, field.number, field.type) for field in message.field])
        for message in file.message_type
    ]


def test_the_linked_descriptors_are_the_committed_ones() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    pool = descriptor_pool.Default()
    committed = {file.name: file for file in files.file}
    for exposed, _ in EXPOSED:
        linked = descriptor_pb2.FileDescriptorProto()
        pool.FindFileByName(exposed.name).CopyToProto(linked)
        file = committed[exposed.name]

        assert list(linked.service) == list(file.service)
        assert shapes(linked) == shapes(file)


async def test_the_pages_are_served_and_bring_everything_themselves(
    client: httpx.AsyncClient,
) -> None:
    for path, kind in (
        ("/openapi.json", "application/json"),
        ("/docs", "text/html"),
        ("/docs/rapidoc-min.js", "text/javascript"),
        ("/problems", "text/html"),
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
    ):
        answer = await client.get(path, headers={"authorization": ""})

        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
        if kind == "text/html":
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "http" not in policy
            assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)


async def test_every_reason_is_explained(client: httpx.AsyncClient) -> None:
    page = (await client.get("/problems")).text

    assert all(f'id="{reason}"' in page for reason in REASONS)

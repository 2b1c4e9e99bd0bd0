"""The OpenAPI 3.1 description, from the same descriptors as the routes."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kernel.refusals import REASONS
from services.gateway.http.comments import Comments
from services.gateway.http.problems import MEDIA_TYPE
from services.gateway.http.routes import Route, body_shape
from services.gateway.http.schemas import Schema, Schemas

_TITLE = "Loyalty"
_ABOUT = (
    "Points that a business owes its members. JSON is the canonical mapping of Protocol Buffers:"
    " 64-bit integers are strings (numbers are read too), fields have two names that are both read,"
    " `requestId` and `request_id`. Errors are problems of RFC 9457 with a `reason`.\n\n"
    "In a path, ids are percent-encoded; a colon within an id is `%3A`, because the last colon of a"
    " path begins its verb."
)
_QUERY_DEPTH = 3
_SHARED = (
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds after which an answer is of no use; a larger number than the"
        " gateway's own limit counts as that.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 999999},
    },
    {
        "name": "traceparent",
        "in": "header",
        "description": "W3C trace context; passed on, and answered.",
        "schema": {"type": "string"},
    },
)
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Stands for `requestId`, or for an event's own `id`, where the body has none;"
    " quoted or not. Where both are given they must be equal.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}


def describe(routes: Iterable[Route], comments: Comments, version: str) -> dict[str, Any]:
    """The OpenAPI document of the routes."""
    schemas = Schemas(comments)
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, str] = {}
    for route in routes:
        service = route.rpc.containing_service
        tags.setdefault(service.name, comments.of(service.full_name))
        operation = _operation(route, comments, schemas)
        paths.setdefault(route.template.text, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": _TITLE,
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, "Problem": _problem()},
            "responses": {"Problem": _problem_answer()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "API key or JWT",
                    "description": "An API key, or a token of `POST /v1/token`. A member's token"
                    " reaches only `/v1/me`.",
                }
            },
        },
    }


def _operation(route: Route, comments: Comments, schemas: Schemas) -> dict[str, Any]:
    comment = comments.of(route.rpc.full_name)
    service = route.rpc.containing_service.name
    name = f"{service}_{route.rpc.name}"
    operation: dict[str, Any] = {
        "operationId": name if route.primary else f"{name}_{'Me' if route.mine else 'Other'}",
        "tags": [service],
        "summary": comment.split("\n")[0].split(". ")[0].removesuffix("."),
        "description": comment,
        "parameters": _parameters(route, schemas),
        "responses": {
            "200": {
                "description": comments.of(route.rpc.output_type.full_name) or "The answer.",
                "headers": {"traceparent": {"schema": {"type": "string"}}},
                "content": {
                    "application/json": {"schema": schemas.reference(route.rpc.output_type)}
                },
            },
            "4XX": {"$ref": "#/components/responses/Problem"},
            "5XX": {"$ref": "#/components/responses/Problem"},
        },
    }
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(route, schemas)}},
        }
    return operation


def _body(route: Route, schemas: Schemas) -> Schema:
    shape = body_shape(route.rpc, route.body)
    schema = schemas.message(shape, without=route.bound if route.body == "*" else ())
    if route.request_id and "required" in schema:
        # The header may stand for it.
        stood_for = shape.fields_by_name[route.request_id[-1]].json_name
        schema["required"] = [name for name in schema["required"] if name != stood_for]
        if not schema["required"]:
            del schema["required"]
    schema["additionalProperties"] = False
    return schema


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    fields = route.rpc.input_type.fields_by_name
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, **_described(schemas.field(fields[name]))}
        for name in route.template.variables
    ]
    for field in route.rpc.input_type.fields:
        if field.name in route.bound:
            continue
        if not route.body:
            parameters += _query(field, schemas, "", _QUERY_DEPTH)
        elif route.body == "*" and _full_name(field.message_type) == "google.protobuf.FieldMask":
            parameters += _query(field, schemas, "", 1)
    if route.request_id:
        parameters.append(_IDEMPOTENCY)
    return [*parameters, *_SHARED]


def _query(
    field: FieldDescriptor, schemas: Schemas, prefix: str, depth: int
) -> list[dict[str, Any]]:
    """The query parameters of a field; a message is its fields, a list of messages is JSON."""
    name = prefix + field.json_name
    message = field.message_type
    required = {"required": True} if not prefix and schemas.is_required(field) else {}
    if message is None or _full_name(message).startswith("google.protobuf."):
        described = _described(schemas.field(field))
        return [{"name": name, "in": "query", **required, **described}]
    if message.GetOptions().map_entry or depth == 1:
        return []
    if field.is_repeated:
        schema = schemas.field(field)
        description = schema.pop("description", "")
        return [
            {
                "name": name,
                "in": "query",
                **required,
                "description": f"{description} As JSON.",
                "content": {"application/json": {"schema": schema}},
            }
        ]
    return [
        parameter
        for inner in message.fields
        for parameter in _query(inner, schemas, f"{name}.", depth - 1)
    ]


def _described(schema: Schema) -> dict[str, Any]:
    """A parameter of a schema, whose comment is the parameter's own."""
    description = schema.pop("description", "")
    return {"description": description, "schema": schema}


def _full_name(message: Descriptor | None) -> str:
    return "" if message is None else message.full_name


def _problem() -> Schema:
    text: Schema = {"type": "string"}
    return {
        "type": "object",
        "description": "Why a call was not done (RFC 9457).",
        "required": ["type", "title", "status", "detail", "reason", "metadata", "traceId"],
        "properties": {
            "type": {**text, "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": text,
            "reason": {**text, "enum": list(REASONS)},
            "metadata": {
                "type": "object",
                "additionalProperties": text,
                "description": "Numbers and names that go with the reason; decimal strings.",
            },
            "violations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "description"],
                    "properties": {"field": text, "description": text},
                },
            },
            "traceId": {**text, "pattern": "^[0-9a-f]{32}$"},
        },
    }


def _problem_answer() -> Schema:
    return {
        "description": "A refusal or a fault.",
        "headers": {
            "traceparent": {"schema": {"type": "string"}},
            "Retry-After": {
                "description": "Seconds after which the same call may succeed.",
                "schema": {"type": "integer"},
            },
        },
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }

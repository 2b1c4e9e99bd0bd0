"""Routes of the HTTP interface, made from the annotations of the methods."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.gateway.domain.paths import PathTable, Template, parse_template

ME = "/v1/me"
# What a token's claims fill on the member's own routes.
CLAIMED = ("program", "member")
_READING = ("Get", "List", "BatchGet", "Lookup", "Quote", "Verify")


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP route of one method. `bound` are the fields that the path or the claims fill."""

    method: str
    template: Template
    body: str
    rpc: MethodDescriptor
    target: str
    request: type[Message]
    response: type[Message]
    mine: bool
    primary: bool
    bound: frozenset[str] = field(default=frozenset())

    @property
    def full_method(self) -> str:
        """The method as gRPC names it: `/package.Service/Method`."""
        return full_method(self.rpc)

    @property
    def takes_request_id(self) -> bool:
        """True where the request has a `request_id` that an `Idempotency-Key` may stand for."""
        return self.method == "POST" and "request_id" in self.request.DESCRIPTOR.fields_by_name


def full_method(rpc: MethodDescriptor) -> str:
    """The method as gRPC names it: `/package.Service/Method`."""
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def routes_of(exposed: Iterable[tuple[FileDescriptor, str]]) -> Iterator[Route]:
    """All routes of the exposed files; ValueError for an annotation beyond what is understood."""
    for file, target in exposed:
        for service in file.services_by_name.values():
            for rpc in service.methods:
                rule = rpc.GetOptions().Extensions[annotations_pb2.http]
                if rule.WhichOneof("pattern") is None:
                    continue
                yield _route(rpc, rule, target, primary=True)
                for further in rule.additional_bindings:
                    yield _route(rpc, further, target, primary=False)


def table_of(routes: Iterable[Route]) -> PathTable[Route]:
    """The table that finds a route by HTTP method and raw path."""
    table: PathTable[Route] = PathTable()
    for route in routes:
        table.add(route.method, route.template, route)
    return table


def retried(rpc: MethodDescriptor) -> bool:
    """True where calling again after a lost answer does no harm.

    Reads, and writes whose request ids make a second call the first one's replay. An update under
    an etag is not among them: its second call would be refused though the first was applied.
    """
    if rpc.name.startswith(_READING):
        return True
    return _has_request_id(rpc.input_type.fields) or any(
        item.message_type is not None
        and item.is_repeated
        and _has_request_id(item.message_type.fields)
        for item in rpc.input_type.fields
    )


def _has_request_id(fields: Iterable[FieldDescriptor]) -> bool:
    return any(item.name == "request_id" for item in fields)


def _route(rpc: MethodDescriptor, rule: http_pb2.HttpRule, target: str, *, primary: bool) -> Route:
    verb = rule.WhichOneof("pattern")
    name = full_method(rpc)
    if verb not in {"get", "put", "post", "delete", "patch"}:
        raise ValueError(f"{name}: no pattern that is understood")
    if rpc.client_streaming or rpc.server_streaming:
        raise ValueError(f"{name}: a stream has no route")
    if rule.response_body:
        raise ValueError(f"{name}: response_body is not understood")
    template = parse_template(getattr(rule, verb))
    mine = template.text == ME or template.text.startswith((ME + "/", ME + ":"))
    fields = rpc.input_type.fields_by_name
    for variable in template.variables:
        if variable not in fields or not _is_text(fields[variable]):
            raise ValueError(f"{name}: {variable} is no string field of {rpc.input_type.name}")
    if rule.body not in {"", "*"} and rule.body not in fields:
        raise ValueError(f"{name}: {rule.body} is no field of {rpc.input_type.name}")
    claimed = [claim for claim in CLAIMED if claim in fields] if mine else []
    return Route(
        method=verb.upper(),
        template=template,
        body=rule.body,
        rpc=rpc,
        target=target,
        request=GetMessageClass(rpc.input_type),
        response=GetMessageClass(rpc.output_type),
        mine=mine,
        primary=primary,
        bound=frozenset([*template.variables, *claimed]),
    )


def _is_text(one: FieldDescriptor) -> bool:
    return one.type == FieldDescriptor.TYPE_STRING and not one.is_repeated

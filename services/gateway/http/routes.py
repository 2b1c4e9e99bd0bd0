"""Routes of the HTTP interface, made from the annotations of the methods."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.gateway.domain.paths import PathTable, Template, parse_template
from services.gateway.http.catalogue import COMPOSED, LONG, OWN, SELF_IDENTIFIED

ME = "/v1/me"
# What a token's claims fill on the member's own routes.
CLAIMED = ("program", "member")
# Reads, and evaluations, which change nothing the second time.
_HARMLESS = (
    *("Get", "List", "BatchGet", "Lookup", "Quote", "Verify", "Check", "Preview"),
    *("Evaluate", "BatchEvaluate"),
)


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP route of one method. `bound` are the fields that the path or the claims fill.

    `request_id` is the path to the field that an `Idempotency-Key` may stand for, or empty.
    """

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
    request_id: tuple[str, ...] = ()

    @property
    def full_method(self) -> str:
        """The method as gRPC names it: `/package.Service/Method`."""
        return full_method(self.rpc)

    @property
    def is_long(self) -> bool:
        """True where a call has as long as a caller may ask for."""
        return self.full_method in LONG


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
    if rpc.name.startswith(_HARMLESS):
        return True
    if "request_id" in rpc.input_type.fields_by_name:
        return True
    messages = [each.message_type for each in rpc.input_type.fields]
    return any(
        each is not None
        and (each.full_name in SELF_IDENTIFIED or "request_id" in each.fields_by_name)
        for each in messages
    )


def body_shape(rpc: MethodDescriptor, body: str) -> Descriptor:
    """The message whose JSON a body is: the request (`*`), or the request's field of that name.

    ValueError where there is no such field, or it is no single message.
    """
    if body == "*":
        return rpc.input_type
    found = rpc.input_type.fields_by_name.get(body)
    if found is None or found.message_type is None or found.is_repeated:
        raise ValueError(f"{full_method(rpc)}: {body} is no message of {rpc.input_type.name}")
    return found.message_type


def _request_id(rpc: MethodDescriptor, body: str) -> tuple[str, ...]:
    """The path to the field of a POST's request that makes it idempotent."""
    if "request_id" in rpc.input_type.fields_by_name:
        return ("request_id",)
    if body in {"", "*"}:
        return ()
    own = SELF_IDENTIFIED.get(body_shape(rpc, body).full_name)
    return () if own is None else (body, own)


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
        if variable not in fields or not _is_word(fields[variable]):
            raise ValueError(f"{name}: {variable} is no text or number of {rpc.input_type.name}")
    if rule.body:
        body_shape(rpc, rule.body)
    claimed = [claim for claim in CLAIMED if claim in fields] if mine else []
    return Route(
        method=verb.upper(),
        template=template,
        body=rule.body,
        rpc=rpc,
        target=OWN if name in COMPOSED else target,
        request=GetMessageClass(rpc.input_type),
        response=GetMessageClass(rpc.output_type),
        mine=mine,
        primary=primary,
        bound=frozenset([*template.variables, *claimed]),
        request_id=_request_id(rpc, rule.body) if verb == "post" else (),
    )


def _is_word(one: FieldDescriptor) -> bool:
    """Whether a segment of a path can say the field: a text, or an integer."""
    kinds = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32}
    return one.type in kinds and not one.is_repeated

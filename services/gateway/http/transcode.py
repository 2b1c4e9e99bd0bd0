"""Makes the request message of a route from path, query, body and headers."""

import json
import re
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.refusals import UnreadableBody
from kernel.refusals import FieldViolation, InvalidField
from services.gateway.http.jsonread import (
    Unreadable,
    camelized_mask,
    read_message,
    scalar_reader,
)
from services.gateway.http.routes import Route

_MASK = "google.protobuf.FieldMask"
_QUERY_FIELDS = 2_200
_QUERY_DEPTH = 8
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def read_request(
    route: Route,
    values: dict[str, str],
    query: bytes,
    body: bytes,
    idempotency_key: str | None,
) -> Message:
    """The request message of one call.

    `values` are the fields that the path or the claims fill. A body that is not the request's JSON
    is UnreadableBody; everything else that does not fit is InvalidField with its path.
    """
    message = route.request()
    if route.body:
        _read_body(route, body, message)
    elif body.strip():
        raise UnreadableBody("this route takes no body")
    if query:
        _read_query(route, query, message)
    for name, text in values.items():
        value = _bound(route, name, text)
        given = getattr(message, name)
        if given and given != value:
            _refuse(name, "differs from what the path says")
        setattr(message, name, value)
    if idempotency_key is not None and route.request_id:
        _apply_key(message, route.request_id, _unquoted(idempotency_key))
    return message


def _bound(route: Route, name: str, text: str) -> Any:
    """The value of a field that the path or the claims fill."""
    field = route.rpc.input_type.fields_by_name[name]
    if field.type == FieldDescriptor.TYPE_STRING:
        return _encodable(name, text)
    try:
        return _scalar(field, text, name)
    except Unreadable as error:
        _refuse(name, error.description)


def _apply_key(message: Any, path: tuple[str, ...], key: str) -> None:
    for name in path[:-1]:
        message = getattr(message, name)
    given = getattr(message, path[-1])
    if given and given != key:
        _refuse(".".join(path), "differs from the header Idempotency-Key")
    setattr(message, path[-1], key)


def load_json(body: bytes) -> Any:
    """Parsed JSON of a body; UnreadableBody where it is none, or ambiguous."""
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnreadableBody:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableBody("the body is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableBody("the body is not JSON") from error


def _read_body(route: Route, body: bytes, message: Message) -> None:
    data = load_json(body) if body.strip() else {}
    try:
        if route.body == "*":
            read_message(data, message)
        else:
            part = getattr(message, route.body)
            part.SetInParent()
            read_message(data, part, route.body)
    except Unreadable as error:
        raise UnreadableBody(str(error), error.field or None) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise UnreadableBody(f"{key}: is given twice", key)
            seen.add(key)
    return data


def _no_constant(name: str) -> NoReturn:
    raise UnreadableBody(f"{name} is not JSON")


def _read_query(route: Route, query: bytes, message: Message) -> None:
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS,
        )
    except ValueError:
        _refuse("query", "is not readable: percent-encoded UTF-8 of at most 2,200 parameters")
    seen: set[tuple[str, ...]] = set()
    chosen: dict[tuple[str, ...], tuple[str, str]] = {}
    for name, value in pairs:
        path = query_path(route, name)
        if path is None:
            _refuse(name, "there is no such query parameter")
        key = tuple(field.name for field in path)
        if key in seen and not path[-1].is_repeated:
            _refuse(name, "is given twice")
        seen.add(key)
        for place, field in enumerate(path):
            choice = field.containing_oneof
            if choice is not None:
                first, said = chosen.setdefault((*key[:place], choice.name), (field.name, name))
                if first != field.name:
                    _refuse(name, f"and {said} exclude each other")
        target = message
        for field in path[:-1]:
            target = getattr(target, field.name)
            target.SetInParent()
        try:
            _set_from_text(target, path[-1], value, name)
        except Unreadable as error:
            _refuse(error.field or name, error.description)


def query_path(route: Route, name: str) -> list[FieldDescriptor] | None:
    """The fields that a parameter's name leads to, in either spelling; None where it leads nowhere.

    With a body only a field mask may stand in the query: everything else has its place there.
    """
    parts = name.split(".")
    if len(parts) > _QUERY_DEPTH:
        return None
    path: list[FieldDescriptor] = []
    descriptor: Descriptor | None = route.rpc.input_type
    for part in parts:
        field = _field_named(descriptor, part) if descriptor is not None else None
        if field is None:
            return None
        path.append(field)
        descriptor = None if field.is_repeated else field.message_type
    top, leaf = path[0], path[-1]
    if top.name in route.bound:
        return None
    if route.body and not (len(path) == 1 and _is_mask(leaf)):
        return None
    return path


def _field_named(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    found = descriptor.fields_by_name.get(name)
    return found if found is not None else descriptor.fields_by_camelcase_name.get(name)


def _is_mask(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == _MASK


def _set_from_text(target: Message, field: FieldDescriptor, text: str, name: str) -> None:
    """Set a field from a parameter's text; messages but the well-known ones are JSON."""
    if field.message_type is None:
        value = _scalar(field, text, name)
        if field.is_repeated:
            getattr(target, field.name).append(value)
        else:
            setattr(target, field.name, value)
        return
    if field.message_type.GetOptions().map_entry:
        raise Unreadable(name, "a map has no place in a query")
    data: Any
    if field.message_type.full_name.startswith("google.protobuf."):
        data = camelized_mask(text) if _is_mask(field) else text
        if _is_mask(field) and target.HasField(field.name):
            raise Unreadable(name, "is given in the body too")
    else:
        try:
            data = load_json(text.encode())
        except UnreadableBody as error:
            raise Unreadable(name, "must be JSON") from error
    if not field.is_repeated:
        sub = getattr(target, field.name)
        sub.SetInParent()
        read_message(data, sub, name)
        return
    items = data if isinstance(data, list) else [data]
    for index, item in enumerate(items):
        read_message(item, getattr(target, field.name).add(), f"{name}[{index}]")


def _scalar(field: FieldDescriptor, text: str, name: str) -> Any:
    value: Any = text
    if field.type == FieldDescriptor.TYPE_BOOL:
        value = {"true": True, "false": False}.get(text, text)
    elif field.enum_type is not None and text.isascii() and text.isdigit() and len(text) < 10:
        value = int(text)
    elif field.cpp_type in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}:
        try:
            value = float(text)
        except ValueError as error:
            raise Unreadable(name, "must be a number") from error
    return scalar_reader(field)(value, name)


def _unquoted(key: str) -> str:
    """The key of an `Idempotency-Key` header: a quoted string of RFC 8941, or the bare text."""
    quoted = _QUOTED.fullmatch(key)
    bare = re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else key
    if not bare:
        _refuse("Idempotency-Key", "is empty")
    return _encodable("Idempotency-Key", bare)


def _encodable(name: str, value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        _refuse(name, "must be valid Unicode")
    return value


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidField(FieldViolation(field, description))

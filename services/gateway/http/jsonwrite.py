"""Writes the canonical JSON of protobuf messages, with the defaults of fields without presence.

The same JSON as `json_format.MessageToJson(always_print_fields_with_no_presence=True)`, so that a
front end sees a zero as a zero; several times faster, because a writer is made once a message type.
"""

import base64
import json
import math
from collections.abc import Callable
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

_TIMESTAMP = "google.protobuf.Timestamp"
_LONG = {
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
}
_REAL = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}

Value = Callable[[Any], Any]


def write_json(message: Message) -> bytes:
    """The canonical JSON of a message, compact, as UTF-8."""
    return json.dumps(to_dict(message), ensure_ascii=False, separators=(",", ":")).encode()


def to_dict(message: Message) -> Any:
    """The canonical JSON of a message as Python values: a dict, but for some well-known types."""
    return _message_writer(cast("Descriptor", message.DESCRIPTOR))(message)


_WRITERS: dict[str, Value] = {}


def _message_writer(descriptor: Descriptor) -> Value:
    writer = _WRITERS.get(descriptor.full_name)
    if writer is None:
        # A message may hold itself: the name stands before its fields are looked at.
        name = descriptor.full_name
        _WRITERS[name] = lambda message: _WRITERS[name](message)  # noqa: PLW0108 - looked up late
        writer = _WRITERS[descriptor.full_name] = _make(descriptor)
    return writer


def _make(descriptor: Descriptor) -> Value:
    if descriptor.full_name == _TIMESTAMP:
        return lambda message: message.ToJsonString()
    if descriptor.full_name.startswith("google.protobuf."):
        return lambda message: json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True
        )
    rows = [_row(field) for field in descriptor.fields]

    def write(message: Message) -> dict[str, Any]:
        has = message.HasField
        return {
            json_name: value(getattr(message, name))
            for name, json_name, value, may_be_unset in rows
            if not may_be_unset or has(name)
        }

    return write


def _row(field: FieldDescriptor) -> tuple[str, str, Value, bool]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = _map_writer(field.message_type)
    elif field.is_repeated:
        one = _value_writer(field)
        value = list if one is _same else _list_writer(one)
    else:
        value = _value_writer(field)
    return field.name, field.json_name, value, field.has_presence


def _value_writer(field: FieldDescriptor) -> Value:
    if field.message_type is not None:
        return _message_writer(field.message_type)
    if field.cpp_type in _LONG:
        return str
    if field.enum_type is not None:
        return _enum_writer(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode("ascii")
    return _real if field.cpp_type in _REAL else _same


def _list_writer(one: Value) -> Value:
    return lambda values: [one(value) for value in values]


def _map_writer(entry: Descriptor) -> Value:
    key = entry.fields_by_name["key"]
    one = _value_writer(entry.fields_by_name["value"])
    if key.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return lambda values: {str(k).lower(): one(values[k]) for k in values}
    return lambda values: {str(k): one(values[k]) for k in values}


def _enum_writer(enum: EnumDescriptor) -> Value:
    names = {number: value.name for number, value in enum.values_by_number.items()}
    return lambda number: names.get(number, number)


def _same(value: Any) -> Any:
    return value


def _real(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")

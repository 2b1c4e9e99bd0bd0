"""Reads the canonical JSON of protobuf messages, strictly, with the path of what is wrong.

Stricter than `google.protobuf.json_format` where that would guess: an object is an object, a field
is given once under one of its two names, and what cannot be read is named with its path. One reader
a message type is made once and kept.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_MASK = "google.protobuf.FieldMask"
_DEPTH = 64

Scalar = Callable[[Any, str], Any]


class Unreadable(Exception):
    """The JSON is not that of the message. `field` is the path of what is wrong, or empty."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        self.description = description


class _Field:
    """How one field is read."""

    __slots__ = ("is_map", "message", "name", "oneof", "repeated", "scalar")

    def __init__(self, field: FieldDescriptor) -> None:
        self.name = field.name
        self.repeated = field.is_repeated
        self.is_map = _is_map(field)
        self.message = field.message_type if not self.is_map else None
        self.scalar = None if field.message_type else scalar_reader(field)
        oneof = field.containing_oneof
        self.oneof = oneof.name if oneof is not None and len(oneof.fields) > 1 else None


class MessageReader:
    """Fills messages of one type from parsed JSON."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._fields: dict[str, _Field] = {}
        for field in descriptor.fields:
            read = _Field(field)
            self._fields[field.name] = read
            self._fields[field.json_name] = read

    def read(self, data: object, message: Message, path: str = "", depth: int = 0) -> None:
        """Fill `message` from parsed JSON; Unreadable where it does not fit."""
        if not isinstance(data, dict):
            raise Unreadable(path, "must be an object")
        if depth > _DEPTH:
            raise Unreadable(path, "is nested too deeply")
        seen: set[str] = set()
        for key, value in data.items():
            here = f"{path}.{key}" if path else str(key)
            field = self._fields.get(key)
            if field is None:
                raise Unreadable(here, "there is no such field")
            if field.name in seen:
                raise Unreadable(here, "is given under both of its names")
            seen.add(field.name)
            if value is None:
                continue
            if field.oneof is not None and message.WhichOneof(field.oneof) is not None:
                raise Unreadable(here, f"only one of {field.oneof} may be given")
            _read_field(field, value, message, here, depth)


def _read_field(field: _Field, value: object, message: Message, path: str, depth: int) -> None:
    if field.is_map:
        _fallback(message, {field.name: value}, path)
    elif field.repeated:
        if not isinstance(value, list):
            raise Unreadable(path, "must be an array")
        target = getattr(message, field.name)
        for index, item in enumerate(value):
            here = f"{path}[{index}]"
            if item is None:
                raise Unreadable(here, "must not be null")
            if field.message is not None:
                read_message(item, target.add(), here, depth + 1)
            elif field.scalar is not None:
                target.append(field.scalar(item, here))
    elif field.message is not None:
        target = getattr(message, field.name)
        target.SetInParent()
        read_message(value, target, path, depth + 1)
    elif field.scalar is not None:
        setattr(message, field.name, field.scalar(value, path))


_READERS: dict[str, MessageReader] = {}


def reader_of(descriptor: Descriptor) -> MessageReader:
    """The reader of a message type, made on first use."""
    reader = _READERS.get(descriptor.full_name)
    if reader is None:
        reader = _READERS[descriptor.full_name] = MessageReader(descriptor)
    return reader


def read_message(data: object, message: Message, path: str = "", depth: int = 0) -> None:
    """Fill `message` from parsed JSON; Unreadable where it does not fit."""
    descriptor = cast("Descriptor", message.DESCRIPTOR)
    if not descriptor.full_name.startswith("google.protobuf."):
        reader_of(descriptor).read(data, message, path, depth)
    elif descriptor.full_name == _MASK and isinstance(data, str):
        _fallback(message, camelized_mask(data), path)
    else:
        _fallback(message, data, path)


def camelized_mask(mask: str) -> str:
    """A field mask with its paths in lowerCamelCase, as JSON has them; both forms are read."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), mask)


def _fallback(message: Message, data: Any, path: str) -> None:
    """Well-known types and maps are the library's."""
    try:
        json_format.ParseDict(data, message)
    except Exception as error:  # Fed with the caller's data only: whatever it raises is about them.
        kind = message.DESCRIPTOR.name
        raise Unreadable(path, f"is not a readable {kind}") from error


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def scalar_reader(field: FieldDescriptor) -> Scalar:
    """The function that turns a JSON value into the Python value of a scalar field."""
    if field.cpp_type in _RANGES:
        low, high = _RANGES[field.cpp_type]
        return lambda value, path: _integer(value, path, low, high)
    if field.enum_type is not None:
        enum = field.enum_type
        return lambda value, path: _enum(value, path, enum)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    return {
        FieldDescriptor.CPPTYPE_STRING: _string,
        FieldDescriptor.CPPTYPE_BOOL: _bool,
        FieldDescriptor.CPPTYPE_FLOAT: _float,
        FieldDescriptor.CPPTYPE_DOUBLE: _float,
    }[field.cpp_type]


def _integer(value: Any, path: str, low: int, high: int) -> int:
    readable = (
        isinstance(value, int)
        or (isinstance(value, float) and value.is_integer())
        or (isinstance(value, str) and _INTEGER.fullmatch(value))
    )
    if not readable or isinstance(value, bool):
        raise Unreadable(path, "must be an integer, as a number or as a string")
    number = int(value)
    if not low <= number <= high:
        raise Unreadable(path, f"must be from {low} to {high}")
    return number


def _enum(value: Any, path: str, enum: EnumDescriptor) -> int:
    # Names are ASCII, and protobuf breaks when it is asked for half of a surrogate pair.
    if isinstance(value, str) and value.isascii():
        known = enum.values_by_name.get(value)
        if known is not None:
            return int(known.number)
    elif type(value) is int and value in enum.values_by_number:
        return value
    names = ", ".join(list(enum.values_by_name)[:20])
    raise Unreadable(path, f"must be one of {names}")


def _bytes(value: Any, path: str) -> bytes:
    if isinstance(value, str):
        text = value.replace("-", "+").replace("_", "/")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
    raise Unreadable(path, "must be a string of base64")


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(path, "must be a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Unreadable(path, "must be valid Unicode") from None
    return value


def _bool(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Unreadable(path, "must be true or false")
    return value


def _float(value: Any, path: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise Unreadable(path, "must be a number")

"""What a hostile caller makes of a request."""

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from tests.fuzz.ledger_requests import NOWHERE

DEPTH = 4
TEXTS = (
    "",
    " ",
    "x" * 129,
    "x" * 20_000,
    "\0",
    "a\nb\rc",
    "../../etc/passwd",
    "'; DROP TABLE account; --",
    "%s%n{0}${jndi:ldap://x}",
    "naïve-émile",
    "\u202edemmep\u2066",
    "\U0001f4a9" * 60,
    "9" * 400,
    "NaN",
    "-1",
    "1e308",
    "0",
    "UTC",
    "points_earned:",
    "points_earned:nothing",
    NOWHERE,
)
INTEGERS = (0, 1, -1, 10**15, 10**15 + 1, -(10**15) - 1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
TIMES = (
    (0, 0),
    (0, -1),
    (0, 10**9),
    (0, 999_999_999),
    (-62_135_596_800, 0),
    (-62_135_596_801, 0),
    (253_402_300_799, 999_999_999),
    (253_402_300_800, 0),
    (2**63 - 1, 0),
    (-(2**63), 0),
)


# A field's descriptor is `Any` below: the types of its two implementations do not agree.


def mutants(message: Message, depth: int = 0) -> Iterator[tuple[str, Message]]:
    """Copies of a message with one field, at any depth, missing, oversized or hostile."""
    for field in message.DESCRIPTOR.fields:
        cleared = _copy(message)
        cleared.ClearField(field.name)
        yield f"{field.name} missing", cleared
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _of_map(message, field)
        elif field.message_type is None:
            yield from _of_scalar(message, field)
        elif depth < DEPTH and field.message_type.full_name != "google.protobuf.Struct":
            yield from _of_message(message, field, depth)


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _of_map(message: Message, field: Any) -> Iterator[tuple[str, Message]]:
    for key, value in ((0, 2**64 - 1), (2**32 - 1, 0), (63, 1)):
        copy = _copy(message)
        getattr(copy, field.name)[key] = value
        yield f"{field.name}[{key}]", copy
    copy = _copy(message)
    getattr(copy, field.name).update(dict.fromkeys(range(4097), 1))
    yield f"{field.name} oversized", copy


def _of_scalar(message: Message, field: Any) -> Iterator[tuple[str, Message]]:
    for value in _values(field):
        copy = _copy(message)
        if field.is_repeated:
            getattr(copy, field.name).append(value)
        else:
            setattr(copy, field.name, value)
        yield f"{field.name}={str(value)[:40]!r}", copy
    if field.is_repeated:
        copy = _copy(message)
        getattr(copy, field.name).extend([_values(field)[-1]] * 5000)
        yield f"{field.name} oversized", copy


def _values(field: Any) -> tuple[Any, ...]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return tuple(text.encode() for text in TEXTS)
        return TEXTS
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return (True, False)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return (0, 999, -1, *field.enum_type.values_by_number)
    low, high = {
        FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    }.get(field.cpp_type, (-(2**63), 2**63 - 1))
    return tuple(value for value in INTEGERS if low <= value <= high)


def _of_message(message: Message, field: Any, depth: int) -> Iterator[tuple[str, Message]]:
    inner_type = GetMessageClass(field.message_type)
    values = [(inner_type(), "empty")]
    if inner_type is Timestamp:
        values += [(Timestamp(seconds=s, nanos=n), f"{s}.{n}") for s, n in TIMES]
    else:
        given = getattr(message, field.name)
        template = (given[0] if len(given) else inner_type()) if field.is_repeated else given
        values += [(inner, f"{name}") for name, inner in mutants(template, depth + 1)]
    for inner, name in values:
        copy = _copy(message)
        if field.is_repeated:
            copy.ClearField(field.name)
            getattr(copy, field.name).append(inner)
        else:
            getattr(copy, field.name).CopyFrom(inner)
        yield f"{field.name}.{name}", copy
    if field.is_repeated and getattr(message, field.name):
        copy = _copy(message)
        getattr(copy, field.name).extend([getattr(message, field.name)[0]] * 2001)
        yield f"{field.name} oversized", copy


def garbage(dice: random.Random, valid: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes that are no message, and valid bytes with a few of them changed."""
    yield "random bytes", dice.randbytes(dice.randrange(1, 300))
    yield "an endless length", b"\x0a\xff\xff\xff\xff\x0f"
    yield "nested groups", b"\x0b" * 500
    for _ in range(6):
        spoiled = bytearray(valid or b"\0")
        for _ in range(dice.randrange(1, 4)):
            spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
        yield f"spoiled {bytes(spoiled).hex()}", bytes(spoiled)

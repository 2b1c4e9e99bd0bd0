"""The shape of requests: what the annotations in the protos say, and what every database needs.

The rules are compiled once for each message, by protovalidate. Besides them, two things hold for
every message, because no store can keep anything else: a text has no NUL, and a time lies within
the years 1900 to 2999.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kernel.refusals import FieldViolation, InvalidField

TIME_SECONDS_MIN: Final = -2_208_988_800
TIME_SECONDS_MAX: Final = 32_503_679_999
"""1900-01-01T00:00:00Z and 2999-12-31T23:59:59Z."""

_VIOLATIONS_MAX = 100

_validator = protovalidate.Validator()
_first_violations = _validator.collect_violations

Check = Callable[[Any, str], Iterator[FieldViolation]]


def validate(message: Message) -> None:
    """Refuse a message that breaks a rule of its shape with INVALID_FIELD, naming every field.

    Paths are those of the proto: `operations[0].earn.points`, `labels["key"]`.
    """
    broken = _first_violations(message)
    check = _check_of(message.DESCRIPTOR)
    if not broken and check is None:
        return
    violations = [
        FieldViolation(_path_of(each.proto), each.proto.message)
        for each in broken[:_VIOLATIONS_MAX]
    ]
    if check is not None:
        violations += check(message, "")
    if violations:
        raise InvalidField(*violations[:_VIOLATIONS_MAX])


def _path_of(violation: Any) -> str:
    parts: list[str] = []
    for element in violation.field.elements if violation.field is not None else ():
        if parts:
            parts.append(".")
        parts.append(element.field_name)
        subscript = element.subscript
        if subscript is not None:
            value = subscript.value
            parts.append(f'["{value}"]' if isinstance(value, str) else f"[{value}]")
    return "".join(parts)


@cache
def _check_of(descriptor: Descriptor) -> Check | None:
    """The check of texts and times of one message and what it holds; None where it has neither."""
    if not _has_texts_or_times(descriptor, frozenset()):
        return None
    checks = [check for field in descriptor.fields if (check := _check_of_field(field))]

    def run(message: Any, path: str) -> Iterator[FieldViolation]:
        for check in checks:
            yield from check(message, path)

    return run


def _has_texts_or_times(descriptor: Descriptor, seen: frozenset[str]) -> bool:
    if descriptor.full_name == "google.protobuf.Timestamp":
        return True
    if descriptor.full_name in seen:
        return False
    within = seen | {descriptor.full_name}
    return any(
        field.type == FieldDescriptor.TYPE_STRING
        or (field.message_type is not None and _has_texts_or_times(field.message_type, within))
        for field in descriptor.fields
    )


def _check_of_field(field: FieldDescriptor) -> Check | None:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _check_of_map(field)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _texts(name) if field.is_repeated else _text(name)
    if field.message_type is None:
        return None
    if field.message_type.full_name == "google.protobuf.Timestamp":
        return _times(name) if field.is_repeated else _time(name)
    if not _has_texts_or_times(field.message_type, frozenset()):
        return None
    return _messages(field) if field.is_repeated else _message(field)


def _text(name: str) -> Check:
    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        if "\x00" in getattr(message, name):
            yield FieldViolation(path + name, "must not have a NUL character")

    return check


def _texts(name: str) -> Check:
    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        for index, text in enumerate(getattr(message, name)):
            if "\x00" in text:
                yield FieldViolation(f"{path}{name}[{index}]", "must not have a NUL character")

    return check


def _is_time(time: Any) -> bool:
    return TIME_SECONDS_MIN <= time.seconds <= TIME_SECONDS_MAX and 0 <= time.nanos <= 999_999_999


def _time(name: str) -> Check:
    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        if message.HasField(name) and not _is_time(getattr(message, name)):
            yield FieldViolation(path + name, "must be a time of the years 1900 to 2999")

    return check


def _times(name: str) -> Check:
    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        for index, time in enumerate(getattr(message, name)):
            if not _is_time(time):
                yield FieldViolation(
                    f"{path}{name}[{index}]", "must be a time of the years 1900 to 2999"
                )

    return check


def _message(field: FieldDescriptor) -> Check:
    name, descriptor = field.name, field.message_type

    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        inner = _check_of(descriptor) if message.HasField(name) else None
        if inner is not None:
            yield from inner(getattr(message, name), f"{path}{name}.")

    return check


def _messages(field: FieldDescriptor) -> Check:
    name, descriptor = field.name, field.message_type

    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        inner = _check_of(descriptor)
        if inner is not None:
            for index, item in enumerate(getattr(message, name)):
                yield from inner(item, f"{path}{name}[{index}].")

    return check


def _check_of_map(field: FieldDescriptor) -> Check | None:
    name = field.name
    key, value = (
        field.message_type.fields_by_name["key"],
        field.message_type.fields_by_name["value"],
    )
    texts = FieldDescriptor.TYPE_STRING
    of_messages = value.message_type is not None and _has_texts_or_times(
        value.message_type, frozenset()
    )
    if key.type != texts and value.type != texts and not of_messages:
        return None

    def check(message: Any, path: str) -> Iterator[FieldViolation]:
        inner = _check_of(value.message_type) if of_messages else None
        for at, item in getattr(message, name).items():
            place = f'{path}{name}["{at}"]'
            if "\x00" in f"{at}{item if value.type == texts else ''}":
                yield FieldViolation(place, "must not have a NUL character")
            if inner is not None:
                yield from inner(item, f"{place}.")

    return check

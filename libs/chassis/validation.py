"""The shape of requests: what the annotations in the protos say, and what every database needs.

The rules are compiled once for each message, by protovalidate. Besides them, two things hold for
every message, because no store can keep anything else: a text has no NUL, and a time is one that
`google.protobuf.Timestamp` allows, in the years 1 to 9999.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from chassis.wording import words_of
from kernel.refusals import FieldViolation, InvalidField

TIME_SECONDS_MIN: Final = -62_135_596_800
TIME_SECONDS_MAX: Final = 253_402_300_799
"""0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z."""

_VIOLATIONS_MAX = 100
_NUL = "must not have a NUL character"
_TIME = "must be a time of the years 1 to 9999"
_TIMESTAMP = "google.protobuf.Timestamp"

_violations_of_rules = protovalidate.Validator().collect_violations


def validate(message: Message) -> None:
    """Refuse a message that breaks a rule of its shape with INVALID_FIELD, naming every field.

    Paths are those of the proto: `operations[0].earn.points`, `labels["key"]`.
    """
    broken = _violations_of_rules(message)
    found: list[FieldViolation] = []
    _look(message, "", _plan_of(message.DESCRIPTOR), found)
    if broken or found:
        by_rules = [
            FieldViolation(_path_of(each.proto), words_of(each))
            for each in broken[:_VIOLATIONS_MAX]
        ]
        named = {each.field for each in by_rules}
        others = [each for each in found[:_VIOLATIONS_MAX] if each.field not in named]
        raise InvalidField(*by_rules, *others)


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


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which fields of a message hold texts and times, by themselves or deeper.

    Texts whose rule is a pattern that no NUL passes are left out: their rule has seen them.
    """

    texts: tuple[str, ...] = ()
    text_lists: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    messages: tuple[tuple[str, Descriptor], ...] = ()
    message_lists: tuple[tuple[str, Descriptor], ...] = ()
    maps: tuple[tuple[str, Descriptor | None], ...] = ()


def _look(message: Any, path: str, plan: _Plan, found: list[FieldViolation]) -> None:
    """Add to `found` the texts with a NUL and the times out of bounds of a message at `path`."""
    for name in plan.texts:
        if "\x00" in getattr(message, name):
            found += (FieldViolation(path + name, _NUL),)
    for name in plan.text_lists:
        for index, text in enumerate(getattr(message, name)):
            if "\x00" in text:
                found.append(FieldViolation(f"{path}{name}[{index}]", _NUL))
    for name in plan.times:
        if message.HasField(name) and not _is_time(getattr(message, name)):
            found += (FieldViolation(path + name, _TIME),)
    for name, descriptor in plan.messages:
        if message.HasField(name):
            _look(getattr(message, name), f"{path}{name}.", _plan_of(descriptor), found)
    for name, descriptor in plan.message_lists:
        _look_at_list(getattr(message, name), path + name, descriptor, found)
    for name, of_messages in plan.maps:
        _look_at_map(getattr(message, name), path + name, of_messages, found)


def _look_at_list(
    items: Any, path: str, descriptor: Descriptor, found: list[FieldViolation]
) -> None:
    if descriptor.full_name == _TIMESTAMP:
        for index, item in enumerate(items):
            if not _is_time(item):
                found.append(FieldViolation(f"{path}[{index}]", _TIME))
        return
    plan = _plan_of(descriptor)
    for index, item in enumerate(items):
        _look(item, f"{path}[{index}].", plan, found)


def _look_at_map(
    items: Any, path: str, of_messages: Descriptor | None, found: list[FieldViolation]
) -> None:
    for key, item in items.items():
        place = f'{path}["{key}"]' if isinstance(key, str) else f"{path}[{key}]"
        if "\x00" in place or (isinstance(item, str) and "\x00" in item):
            found.append(FieldViolation(place.replace("\x00", "?"), _NUL))
        if of_messages is None:
            continue
        if of_messages.full_name != _TIMESTAMP:
            _look(item, f"{place}.", _plan_of(of_messages), found)
        elif not _is_time(item):
            found.append(FieldViolation(place, _TIME))


def _is_time(time: Any) -> bool:
    seconds: int = time.seconds
    nanos: int = time.nanos
    return TIME_SECONDS_MIN <= seconds <= TIME_SECONDS_MAX and 0 <= nanos < 10**9


@cache
def _plan_of(descriptor: Descriptor) -> _Plan:
    texts, text_lists, times = [], [], []
    messages, message_lists, maps = [], [], []
    for field in descriptor.fields:
        within = field.message_type
        if within is not None and within.GetOptions().map_entry:
            value = within.fields_by_name["value"]
            maps.append((field.name, value.message_type))
        elif field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                text_lists.append(field.name)
            elif not _refuses_nul(field):
                texts.append(field.name)
        elif within is None or not _has_texts_or_times(within, frozenset()):
            continue
        elif field.is_repeated:
            message_lists.append((field.name, within))
        elif within.full_name == _TIMESTAMP:
            times.append(field.name)
        else:
            messages.append((field.name, within))
    return _Plan(
        texts=tuple(texts),
        text_lists=tuple(text_lists),
        times=tuple(times),
        messages=tuple(messages),
        message_lists=tuple(message_lists),
        maps=tuple(maps),
    )


def _refuses_nul(field: FieldDescriptor) -> bool:
    rule = field.GetOptions().Extensions[validate_pb2.field].string
    if rule.uuid:
        return True
    return bool(rule.pattern) and not any(
        re.search(rule.pattern, text) for text in ("\x00", "a\x00a", "a\x00", "\x00a")
    )


def _has_texts_or_times(descriptor: Descriptor, seen: frozenset[str]) -> bool:
    """Whether a message has a text that its rule does not guard, or a time, at any depth."""
    if descriptor.full_name == _TIMESTAMP:
        return True
    if descriptor.full_name in seen:
        return False
    within = seen | {descriptor.full_name}
    return any(
        (field.type == FieldDescriptor.TYPE_STRING and not _refuses_nul(field))
        or (field.message_type is not None and _has_texts_or_times(field.message_type, within))
        for field in descriptor.fields
    )

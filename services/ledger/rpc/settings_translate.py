"""Settings between messages and the domain: one way for all of them, by path and descriptor."""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from enum import IntEnum
from typing import Any

from google.protobuf import json_format, struct_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2

from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import program_pb2, resources_pb2
from services.ledger.domain.config import Expiry, ExpiryKind, RoundTo
from services.ledger.domain.program_settings import (
    DEFAULTS,
    OTHERS,
    PATHS,
    changed_settings,
    settings_of,
)
from services.ledger.operations.configure_program import Configured, settings_etag
from services.ledger.operations.settings_history import SettingsRevision
from services.ledger.rpc.program_translate import Given, instant_of, timestamp_of
from services.ledger.store.programs import ProgramState

Changes = Mapping[str, tuple[Any, Any]]


def settings_given(message: program_pb2.ProgramSettings) -> Given:
    """The settings that are set, by path, as the domain keeps them."""
    given: Given = {}
    for path in PATHS:
        parent, field = _leaf(message, path)
        if _is_set(parent, field):
            given[path] = _setting(path, field, getattr(parent, field.name))
    return given


def settings_message(program: ProgramState) -> program_pb2.ProgramSettings:
    """A program's settings as they are answered, with their defaults."""
    message = program_pb2.ProgramSettings(revision=program.revision, etag=settings_etag(program))
    for path, value in settings_of(program.config).items():
        _put(message, path, value)
    return message


def updated_message(configured: Configured) -> program_pb2.ProgramSettings:
    """A program's settings after a change, with what it changed."""
    message = settings_message(configured.after)
    message.changes.extend(changes_of(configured))
    return message


def changes_of(configured: Configured) -> Iterator[program_pb2.SettingChange]:
    """What a change of a program changed of its settings."""
    return _changes(changed_settings(configured.before.config, configured.after.config))


def revision_message(revision: SettingsRevision) -> program_pb2.SettingsRevision:
    """A revision as it is answered."""
    return program_pb2.SettingsRevision(
        revision=revision.revision,
        record_time=timestamp_of(revision.author.record_time),
        actor=revision.author.actor,
        reason=revision.author.reason,
        changes=_changes(revision.changes),
    )


def _changes(changes: Changes) -> Iterator[program_pb2.SettingChange]:
    for path, (before, after) in changes.items():
        yield program_pb2.SettingChange(
            path=path, before=_json_value(path, before), after=_json_value(path, after)
        )


def _json_value(path: str, value: Any) -> struct_pb2.Value:
    """A setting as its field is written in JSON; null for one that is unset."""
    parent = _put(program_pb2.ProgramSettings(), path, value)
    field = parent.DESCRIPTOR.fields_by_name[path.rpartition(".")[2]]
    plain: Any
    if field.is_repeated and field.message_type is not None:
        plain = [json_format.MessageToDict(each) for each in getattr(parent, field.name)]
    else:
        written = json_format.MessageToDict(parent, always_print_fields_with_no_presence=True)
        plain = written.get(field.json_name)
    return json_format.ParseDict(plain, struct_pb2.Value())


def _leaf(message: Any, path: str) -> tuple[Any, FieldDescriptor]:
    *groups, name = path.split(".")
    for group in groups:
        message = getattr(message, group)
    return message, message.DESCRIPTOR.fields_by_name[name]


def _put(message: Message, path: str, value: Any) -> Any:
    """Set a setting in a message, and answer the group that it is in."""
    parent, field = _leaf(message, path)
    parent.SetInParent()
    if value is None:
        return parent
    if path == "points.expiry":
        parent.MergeFrom(program_pb2.PointsSettings(expiry=map(_expiry_message, value)))
    elif field.is_repeated and field.message_type is not None:
        for each in value:
            getattr(parent, field.name).add(**each)
    elif field.is_repeated:
        getattr(parent, field.name).extend(value)
    elif field.message_type is not None:
        instant = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        getattr(parent, field.name).CopyFrom(timestamp_of(instant))
    elif isinstance(value, Decimal):
        setattr(parent, field.name, f"{value:f}")
    elif field.enum_type is not None and isinstance(value, str):
        setattr(parent, field.name, field.enum_type.values_by_name[value].number)
    else:
        setattr(parent, field.name, value)
    return parent


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    return bool(getattr(message, field.name))


def _setting(path: str, field: FieldDescriptor, value: Any) -> Any:
    if path in OTHERS:
        return _plain(field, value)
    if path == "points.expiry":
        return tuple(_expiry(each, place) for place, each in enumerate(value))
    if path == "redemption.conversion_rate":
        return Decimal(value)
    if isinstance(value, Timestamp):
        return instant_of(value)
    default = DEFAULTS[path]
    return type(default)(value) if isinstance(default, IntEnum) else value


def _plain(field: FieldDescriptor, value: Any) -> Any:
    """What the domain keeps of a setting that it does not act on."""
    if field.is_repeated and field.message_type is not None:
        names = [each.name for each in field.message_type.fields]
        return tuple({name: getattr(each, name) for name in names} for each in value)
    if field.is_repeated:
        return tuple(value)
    if isinstance(value, Timestamp):
        return instant_of(value).isoformat()
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value


def _expiry(message: resources_pb2.ExpiryStrategy, place: int) -> Expiry:
    return Expiry(
        strategy=message.strategy,
        kind=ExpiryKind(message.kind),
        days=message.days,
        months=message.months,
        round_to=RoundTo(message.round_to),
        date=_date(message.date, place) if message.HasField("date") else None,
    )


def _date(message: date_pb2.Date, place: int) -> dt.date:
    # The years of instants: the end of a day is an instant too.
    if 1900 <= message.year <= 8999:
        with suppress(ValueError):
            return dt.date(message.year, message.month, message.day)
    field = f"settings.points.expiry[{place}].date"
    raise InvalidField(FieldViolation(field, "must be a day of the years 1900 to 8999"))


def _expiry_message(expiry: Expiry) -> resources_pb2.ExpiryStrategy:
    date = expiry.date
    return resources_pb2.ExpiryStrategy(
        strategy=expiry.strategy,
        kind=resources_pb2.ExpiryStrategy.Kind.ValueType(expiry.kind),
        days=expiry.days,
        months=expiry.months,
        round_to=resources_pb2.ExpiryStrategy.RoundTo.ValueType(expiry.round_to),
        date=None
        if date is None
        else date_pb2.Date(year=date.year, month=date.month, day=date.day),
    )

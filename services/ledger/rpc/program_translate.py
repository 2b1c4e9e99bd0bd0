"""Organizations, programs and settings between messages and the domain."""

import datetime as dt
from contextlib import suppress
from decimal import Decimal
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2

from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import program_pb2, resources_pb2
from services.ledger.domain.config import (
    CounterConfig,
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    ProgramConfig,
    RoundTo,
)
from services.ledger.domain.programs import SETTINGS, OrganizationSettings
from services.ledger.operations.configure_program import settings_etag
from services.ledger.operations.organizations import organization_etag
from services.ledger.operations.programs import program_etag
from services.ledger.store.organizations import Organization
from services.ledger.store.programs import ProgramState, ProgramSummary

Given = dict[str, Any]


def instant_of(timestamp: Timestamp) -> dt.datetime:
    """The instant of a timestamp, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=dt.UTC)


def timestamp_of(instant: dt.datetime) -> Timestamp:
    """The timestamp of an instant."""
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


# ------------------------------------------------------------------------------------ organizations


def organization_message(organization: Organization) -> program_pb2.Organization:
    """An organization as it is answered."""
    return program_pb2.Organization(
        organization=organization.id,
        settings=program_pb2.OrganizationSettings(
            multiple_programs=organization.settings.multiple_programs
        ),
        create_time=timestamp_of(organization.create_time),
        etag=organization_etag(organization),
    )


def organization_settings(message: program_pb2.OrganizationSettings) -> OrganizationSettings:
    """An organization's settings as given."""
    return OrganizationSettings(multiple_programs=message.multiple_programs)


def organization_given(message: program_pb2.Organization) -> Given:
    """The fields of an organization that are set, by path."""
    if not message.settings.multiple_programs:
        return {}
    return {"settings.multiple_programs": True}


# ----------------------------------------------------------------------------------------- programs


def program_message(
    program: ProgramSummary, currency: str, server_time: dt.datetime
) -> program_pb2.Program:
    """A program as it is answered; `currency` is its default currency's id."""
    return program_pb2.Program(
        program=program.id,
        display_name=program.display_name,
        sandbox=program.sandbox,
        now=timestamp_of(program.now(server_time)),
        currency=currency,
        revision=program.revision,
        create_time=timestamp_of(program.create_time),
        etag=program_etag(program),
    )


def program_given(message: program_pb2.Program) -> Given:
    """The fields of a program that are set and can be changed, by path."""
    return {"display_name": message.display_name} if message.display_name else {}


def currency_message(currency: CurrencyConfig) -> program_pb2.Currency:
    """A currency as it is answered."""
    return program_pb2.Currency(
        currency=currency.id,
        display_name=currency.display_name,
        scale=currency.scale,
        maximum_balance=currency.maximum_balance,
        daily_cap=currency.daily_cap,
        monthly_cap=currency.monthly_cap,
        expiry=currency.expiry,
    )


def currency_config(currency_id: str, message: program_pb2.Currency) -> CurrencyConfig:
    """A currency as given."""
    return CurrencyConfig(
        id=currency_id,
        display_name=message.display_name,
        scale=message.scale,
        maximum_balance=_optional(message, "maximum_balance"),
        daily_cap=_optional(message, "daily_cap"),
        monthly_cap=_optional(message, "monthly_cap"),
        expiry=message.expiry,
    )


def counter_message(counter: CounterConfig) -> program_pb2.Counter:
    """A counter as it is answered."""
    return program_pb2.Counter(
        counter=counter.id, unit=counter.unit, display_name=counter.display_name
    )


def counter_config(counter_id: str, message: program_pb2.Counter) -> CounterConfig:
    """A counter as given."""
    return CounterConfig(id=counter_id, unit=message.unit, display_name=message.display_name)


# ----------------------------------------------------------------------------------------- settings


def settings_given(message: program_pb2.ProgramSettings) -> Given:
    """The settings that are set, by path, as the domain keeps them."""
    given: Given = {}
    for path in SETTINGS:
        group_name, _, field = path.partition(".")
        group: Message = getattr(message, group_name)
        if _is_set(group, field):
            given[path] = _setting(path, getattr(group, field))
    return given


def settings_message(program: ProgramState) -> program_pb2.ProgramSettings:
    """A program's settings as they are answered, with their defaults."""
    config = program.config
    return program_pb2.ProgramSettings(
        program=program_pb2.GeneralSettings(
            time_zone=config.time_zone,
            currency_code=config.currency_code,
            auto_enrol=config.auto_enrol,
            start=_timestamp(config.start),
            end=_timestamp(config.end),
        ),
        points=program_pb2.PointsSettings(
            maximum_balance=config.maximum_balance,
            daily_cap=config.daily_cap,
            monthly_cap=config.monthly_cap,
            expiry=[_expiry_message(expiry) for expiry in config.expiry],
            default_expiry=config.default_expiry,
        ),
        redemption=_redemption_message(config),
        revision=program.revision,
        etag=settings_etag(program),
    )


def _redemption_message(config: ProgramConfig) -> program_pb2.RedemptionSettings:
    rate = config.conversion_rate
    return program_pb2.RedemptionSettings(
        minimum_balance=config.minimum_balance,
        step=config.step,
        conversion_rate="" if rate is None else f"{rate:f}",
        until=_timestamp(config.until),
    )


def _is_set(message: Message, field: str) -> bool:
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if descriptor.has_presence:
        return message.HasField(field)
    return bool(getattr(message, field))


def _setting(path: str, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return instant_of(value)
    if path == "points.expiry":
        return tuple(_expiry(each, place) for place, each in enumerate(value))
    if path == "redemption.conversion_rate":
        return Decimal(value)
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


def _timestamp(instant: dt.datetime | None) -> Timestamp | None:
    return None if instant is None else timestamp_of(instant)


def _optional(message: Message, field: str) -> int | None:
    return getattr(message, field) if message.HasField(field) else None

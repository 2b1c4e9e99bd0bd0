"""Organizations, programs and their parts between messages and the domain."""

import datetime as dt
from dataclasses import asdict, fields
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.ledger.v1 import program_pb2
from services.ledger.domain.config import CounterConfig, CurrencyConfig
from services.ledger.domain.programs import OrganizationSettings
from services.ledger.operations.organizations import organization_etag
from services.ledger.operations.programs import program_etag
from services.ledger.store.organizations import Organization
from services.ledger.store.programs import ProgramSummary

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
        settings=program_pb2.OrganizationSettings(**asdict(organization.settings)),
        create_time=timestamp_of(organization.create_time),
        etag=organization_etag(organization),
    )


def organization_settings(message: program_pb2.OrganizationSettings) -> OrganizationSettings:
    """An organization's settings as given."""
    return OrganizationSettings(
        **{field.name: getattr(message, field.name) for field in fields(OrganizationSettings)}
    )


def organization_given(message: program_pb2.Organization) -> Given:
    """The fields of an organization that are set, by path."""
    on = asdict(organization_settings(message.settings))
    return {f"settings.{name}": True for name, value in on.items() if value}


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


def _optional(message: Message, field: str) -> int | None:
    return getattr(message, field) if message.HasField(field) else None

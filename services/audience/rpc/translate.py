"""Audiences and what is known of members between messages and the domain."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.audience.v1 import audience_pb2
from services.audience.domain.audience import Audience, Definition
from services.audience.domain.criteria import Criterion, Field, Result
from services.audience.operations.context import Freshness

_Message = audience_pb2.AudienceCriterion


def instant_of(timestamp: Timestamp) -> datetime:
    """The instant of a timestamp, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=UTC)


def timestamp_of(instant: datetime) -> Timestamp:
    """The timestamp of an instant."""
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def definition(message: audience_pb2.Audience) -> Definition:
    """What a caller says of an audience."""
    return Definition(message.display_name, criteria(message.criteria), message.group)


def given(message: audience_pb2.Audience) -> dict[str, Any]:
    """The fields of an update that are set."""
    fields: dict[str, Any] = {
        "display_name": message.display_name,
        "criteria": criteria(message.criteria),
        "group": message.group,
    }
    return {name: value for name, value in fields.items() if value}


def criteria(messages: Iterable[_Message]) -> tuple[Criterion, ...]:
    """Criteria as given; tiers in order and each once, so that equal ones are equal."""
    return tuple(
        Criterion(
            Field(each.field),
            each.currency,
            each.minimum if each.HasField("minimum") else None,
            each.maximum if each.HasField("maximum") else None,
            tuple(sorted(set(each.tiers))),
        )
        for each in messages
    )


def criterion_message(criterion: Criterion) -> _Message:
    """A criterion as it is answered."""
    return _Message(
        field=_Message.Field.ValueType(criterion.field),
        currency=criterion.currency,
        minimum=criterion.minimum,
        maximum=criterion.maximum,
        tiers=criterion.tiers,
    )


def audience_message(
    program: str, audience: Audience, size: int | None = None
) -> audience_pb2.Audience:
    """An audience as it is answered; without a size in lists."""
    return audience_pb2.Audience(
        program=program,
        audience=audience.id,
        display_name=audience.definition.display_name,
        criteria=[criterion_message(each) for each in audience.definition.criteria],
        group=audience.definition.group,
        size=size,
        etag=audience.etag(),
    )


def result_message(result: Result) -> audience_pb2.CriterionResult:
    """What one criterion read, as it is answered."""
    return audience_pb2.CriterionResult(
        criterion=criterion_message(result.criterion),
        holds=result.holds,
        value=result.value,
        tier=result.tier,
    )


def freshness_message(freshness: Freshness | None) -> audience_pb2.Freshness:
    """How current an answer is; empty where that was never known."""
    message = audience_pb2.Freshness()
    if freshness is not None:
        message.current_time.CopyFrom(timestamp_of(freshness.current_time))
        message.lag.FromTimedelta(freshness.lag)
    return message

"""Rules, event types and outcomes between messages and the domain."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.refusals import status_of
from kernel.ids import microseconds
from loyalty.rules.v1 import earning_pb2, events_pb2
from services.rules.domain.catalogue import EventType
from services.rules.domain.ruleset import (
    RULE_FIELDS,
    EarningRule,
    Rounding,
    Ruleset,
    etag_of,
    rule_etag,
)
from services.rules.operations.outcomes import Outcome
from services.rules.store.events import refusal_of, trace_of

_DECIMALS = ("points", "per_amount", "minimum_amount")


def stamp(moment: datetime) -> Timestamp:
    """The timestamp of an instant."""
    micros = microseconds(moment)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


def event_types_message(
    types: list[EventType], ruleset: Ruleset
) -> earning_pb2.ListEventTypesResponse:
    """The catalogue with what a program made of it."""
    return earning_pb2.ListEventTypesResponse(
        event_types=[
            earning_pb2.EventType(
                type=each.name,
                category=earning_pb2.EventType.Category.ValueType(each.category),
                default_points=each.points,
                custom_points=ruleset.points.get(each.name),
                points=ruleset.points_of(each.name),
            )
            for each in types
        ],
        ruleset=ruleset.version,
        etag=etag_of(ruleset),
    )


def rule_given(message: earning_pb2.EarningRule) -> dict[str, Any]:
    """The fields of a rule that are set, by name, as the domain keeps them."""
    given: dict[str, Any] = {}
    for name in RULE_FIELDS:
        value = getattr(message, name)
        if not value:
            continue
        given[name] = Decimal(value) if name in _DECIMALS else value
    if "rounding" in given:
        given["rounding"] = Rounding(given["rounding"])
    return given


def rule_message(rule: EarningRule) -> earning_pb2.EarningRule:
    """A rule as it is answered, with its defaults."""
    return earning_pb2.EarningRule(
        rule=rule.id,
        display_name=rule.display_name,
        event_type=rule.event_type,
        points=f"{rule.points:f}",
        per_amount=f"{rule.per_amount:f}",
        minimum_amount=f"{rule.minimum_amount:f}",
        rounding=earning_pb2.EarningRule.Rounding.ValueType(rule.rounding),
        tier_rate=rule.tier_rate,
        currency=rule.currency,
        expiry=rule.expiry,
        etag=rule_etag(rule),
    )


def outcome_message(
    program: str, outcome: Outcome, *, brief: bool = False
) -> events_pb2.EventOutcome:
    """What became of an event, as it is answered."""
    event = outcome.event
    message = events_pb2.EventOutcome(
        program=program,
        state=events_pb2.EventOutcome.State.ValueType(event.state),
        replayed=outcome.replayed,
        ruleset=event.ruleset,
        create_time=stamp(event.create_time),
    )
    message.event.MergeFromString(event.content)
    message.event.effective_time.CopyFrom(stamp(event.effective_time))
    if event.posting is not None:
        message.posting.MergeFromString(event.posting)
    refusal = refusal_of(event)
    if refusal is not None:
        message.status.CopyFrom(status_of(refusal))
    if brief:
        return message
    if outcome.account is not None:
        message.account.MergeFromString(outcome.account)
    if outcome.membership is not None:
        message.membership.MergeFromString(outcome.membership)
    for step in trace_of(event):
        message.trace.add(
            rule=step.rule,
            applied=step.applied,
            explanation=step.explanation,
            value=step.value,
            rate=step.rate,
            points=step.points,
        )
    return message

"""Posts, and the methods that are posts of one operation, as commands of the domain."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from kernel.calendar import Period
from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.ledger.domain.commands import (
    Adjust,
    Command,
    Count,
    Earn,
    Expectation,
    Operation,
    Redeem,
)
from services.ledger.domain.counters import Window
from services.ledger.operations.context import Caller
from services.ledger.rpc.translate import instant

OPERATIONS_MAX = 2_000
_NOT_COMPARED: Final[
    Sequence[
        Literal["program", "member", "request_id", "validate_only", "preconditions", "logged_time"]
    ]
] = ("program", "member", "request_id", "validate_only", "preconditions", "logged_time")


def command(
    request: ledger_pb2.PostRequest, caller: Caller, program: str, *, indexed: bool
) -> Command:
    """The command of a post; every writing method is turned into one.

    The digest is of the canonical request, so that the same request is the same whichever method
    carried it.
    """
    canonical = ledger_pb2.PostRequest()
    canonical.CopyFrom(request)
    for field in _NOT_COMPARED:
        canonical.ClearField(field)
    expected: int | None = None
    expect: tuple[Expectation, ...] = ()
    if request.HasField("preconditions"):
        expected, expect = _preconditions(request.preconditions)
    return Command(
        organization=caller.organization,
        program=program,
        member=request.member,
        request_id=request.request_id,
        digest=hashlib.sha256(canonical.SerializeToString(deterministic=True)).digest()[:16],
        operations=tuple([operation(each, request.currency) for each in request.operations]),
        effective_time=_given(request),
        reference=request.reference,
        actor=caller.actor,
        expected_version=expected,
        expect=expect,
        indexed=indexed,
        logged_time=instant(request.logged_time) if request.HasField("logged_time") else None,
    )


def _preconditions(
    message: ledger_pb2.Preconditions,
) -> tuple[int | None, tuple[Expectation, ...]]:
    version = message.expected_version if message.HasField("expected_version") else None
    return version, tuple(expectation(each) for each in message.expect)


def _given(request: ledger_pb2.PostRequest) -> datetime | None:
    return instant(request.effective_time) if request.HasField("effective_time") else None


def expectation(message: resources_pb2.CounterValue) -> Expectation:
    """A counter's value as the caller read it."""
    if not message.HasField("window"):
        raise InvalidField(FieldViolation("preconditions.expect.window", "is required"))
    return Expectation(message.window.counter, window(message.window), message.value)


def window(message: resources_pb2.CounterWindow) -> Window:
    """A window of a counter."""
    time = instant(message.time) if message.HasField("time") else None
    return Window(message.counter, Period(message.period), message.length, time)


def operation(message: ledger_pb2.Operation, currency: str) -> Operation:
    """One operation; `currency` is the request's, for operations that name none."""
    kind = message.WhichOneof("operation")
    if kind == "earn":
        earn = message.earn
        mature = instant(earn.mature_time) if earn.HasField("mature_time") else None
        source, bare = _sources(earn.source) if earn.HasField("source") else (None, None)
        return Earn(earn.points, earn.currency or currency, earn.expiry, mature, source, bare)
    if kind == "redeem":
        redeem = message.redeem
        return Redeem(redeem.points, redeem.currency or currency, redeem.allow_partial)
    if kind == "adjust":
        adjust = message.adjust
        return Adjust(
            points=adjust.points,
            reason=adjust.reason,
            currency=adjust.currency or currency,
            allow_partial=adjust.allow_partial,
            expiry=adjust.expiry,
        )
    return Count(message.count.counter, message.count.value)


def _sources(source: resources_pb2.Source) -> tuple[bytes, bytes]:
    """What points were given for: in full, and without the value behind them."""
    whole = source.SerializeToString(deterministic=True)
    if not (source.HasField("value") or source.rate or source.excluded):
        return whole, whole
    bare = resources_pb2.Source(
        event=source.event, rule=source.rule, rounding=source.rounding, ruleset=source.ruleset
    )
    return whole, bare.SerializeToString(deterministic=True)


def earn_post(request: ledger_pb2.EarnRequest) -> ledger_pb2.PostRequest:
    """The post that an `Earn` is."""
    earn = ledger_pb2.EarnOperation(
        points=request.points, currency=request.currency, expiry=request.expiry
    )
    if request.HasField("mature_time"):
        earn.mature_time.CopyFrom(request.mature_time)
    if request.HasField("source"):
        earn.source.CopyFrom(request.source)
    return _post(request, ledger_pb2.Operation(earn=earn))


def redeem_post(request: ledger_pb2.RedeemRequest) -> ledger_pb2.PostRequest:
    """The post that a `Redeem` is."""
    redeem = ledger_pb2.RedeemOperation(
        points=request.points, currency=request.currency, allow_partial=request.allow_partial
    )
    return _post(request, ledger_pb2.Operation(redeem=redeem))


def adjust_post(request: ledger_pb2.AdjustRequest) -> ledger_pb2.PostRequest:
    """The post that an `Adjust` is."""
    adjust = ledger_pb2.AdjustOperation(
        points=request.points,
        currency=request.currency,
        reason=request.reason,
        allow_partial=request.allow_partial,
        expiry=request.expiry,
    )
    return _post(request, ledger_pb2.Operation(adjust=adjust))


def count_post(request: ledger_pb2.CountRequest) -> ledger_pb2.PostRequest:
    """The post that a `Count` is."""
    count = ledger_pb2.CountOperation(counter=request.counter, value=request.value)
    return _post(request, ledger_pb2.Operation(count=count))


_Single = (
    ledger_pb2.EarnRequest
    | ledger_pb2.RedeemRequest
    | ledger_pb2.AdjustRequest
    | ledger_pb2.CountRequest
)


def _post(request: _Single, each: ledger_pb2.Operation) -> ledger_pb2.PostRequest:
    post = ledger_pb2.PostRequest(
        program=request.program,
        member=request.member,
        request_id=request.request_id,
        reference=request.reference,
        operations=(each,),
    )
    if request.HasField("effective_time"):
        post.effective_time.CopyFrom(request.effective_time)
    if request.HasField("preconditions"):
        post.preconditions.CopyFrom(request.preconditions)
    return post

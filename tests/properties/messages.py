"""Between the reference model's values and the ledger's messages."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from tests.properties.model_shapes import (
    Adjust,
    Command,
    Count,
    Earn,
    Entry,
    Hold,
    Op,
    Redeem,
    Refused,
    Window,
)

Single = (
    ledger_pb2.EarnRequest
    | ledger_pb2.RedeemRequest
    | ledger_pb2.AdjustRequest
    | ledger_pb2.CountRequest
)
KINDS = resources_pb2.Entry.Kind
LIMITS = resources_pb2.Forfeit.Limit
MAKES_LOT = {"EARNED", "ADJUSTED_IN", "TRANSFERRED_IN", "MOVED_IN"}


def stamp(time: datetime | None) -> Timestamp | None:
    """An instant as a message; None stays unset."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message


def instant(message: Timestamp) -> datetime:
    """A message as an instant in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def window_message(window: Window) -> resources_pb2.CounterWindow:
    """A counter window."""
    return resources_pb2.CounterWindow(
        counter=window.counter,
        period=resources_pb2.CounterWindow.Period.Value(window.period),
        length=window.length,
        time=stamp(window.time),
    )


def preconditions(command: Command) -> ledger_pb2.Preconditions | None:
    """What the command's decision rested on, where anything is stated."""
    if command.expected_version is None and not command.expect:
        return None
    return ledger_pb2.Preconditions(
        expected_version=command.expected_version,
        expect=[
            resources_pb2.CounterValue(window=window_message(window), value=value)
            for window, value in command.expect
        ],
    )


def operation(op: Op) -> ledger_pb2.Operation:
    """One operation of a post."""
    if isinstance(op, Earn):
        return ledger_pb2.Operation(
            earn=ledger_pb2.EarnOperation(
                points=op.points,
                currency=op.currency,
                expiry=op.expiry,
                mature_time=stamp(op.mature_time),
            )
        )
    if isinstance(op, Count):
        return ledger_pb2.Operation(
            count=ledger_pb2.CountOperation(counter=op.counter, value=op.value)
        )
    if isinstance(op, Adjust):
        return ledger_pb2.Operation(
            adjust=ledger_pb2.AdjustOperation(
                points=op.points,
                currency=op.currency,
                reason=op.reason,
                allow_partial=op.allow_partial,
                expiry=op.expiry,
            )
        )
    assert isinstance(op, Redeem)
    return ledger_pb2.Operation(
        redeem=ledger_pb2.RedeemOperation(
            points=op.points, currency=op.currency, allow_partial=op.allow_partial
        )
    )


def posted(command: Command) -> list[Op]:
    """The operations of a post."""
    return [op for op in command.ops if isinstance(op, Op)]


def post_request(program: str, command: Command) -> ledger_pb2.PostRequest:
    """The command as a post of one or several operations."""
    return ledger_pb2.PostRequest(
        program=program,
        member=command.member,
        request_id=command.request_id,
        validate_only=command.validate_only,
        preconditions=preconditions(command),
        effective_time=stamp(command.effective_time),
        reference=command.reference,
        operations=[operation(op) for op in posted(command)],
    )


def single_request(program: str, command: Command) -> Single:
    """The command as the request of its one operation's own method."""
    (op,) = posted(command)
    post = post_request(program, command)
    request: Single
    if isinstance(op, Earn):
        request = ledger_pb2.EarnRequest(
            points=op.points,
            currency=op.currency,
            expiry=op.expiry,
            mature_time=stamp(op.mature_time),
        )
    elif isinstance(op, Count):
        request = ledger_pb2.CountRequest(counter=op.counter, value=op.value)
    elif isinstance(op, Adjust):
        request = ledger_pb2.AdjustRequest(
            points=op.points,
            currency=op.currency,
            reason=op.reason,
            allow_partial=op.allow_partial,
            expiry=op.expiry,
        )
    else:
        request = ledger_pb2.RedeemRequest(
            points=op.points, currency=op.currency, allow_partial=op.allow_partial
        )
    request.program, request.member, request.request_id = program, post.member, post.request_id
    request.validate_only, request.reference = post.validate_only, post.reference
    if post.HasField("preconditions"):
        request.preconditions.CopyFrom(post.preconditions)
    if post.HasField("effective_time"):
        request.effective_time.CopyFrom(post.effective_time)
    return request


def refused(status: status_pb2.Status) -> Refused:
    """The refusal in a status, which must have exactly one reason in our domain."""
    infos = [any_ for any_ in status.details if any_.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1, f"not one ErrorInfo: {status}"
    info = error_details_pb2.ErrorInfo()
    infos[0].Unpack(info)
    assert info.domain == "loyalty", info
    return Refused(info.reason, **dict(info.metadata))


def entry(message: resources_pb2.Entry, lots: dict[str, int]) -> Entry:
    """An entry in the model's shape; `lots` says which entry made a lot and learns of new ones."""
    kind = KINDS.Name(message.kind)
    if message.lot and kind in MAKES_LOT:
        lots[message.lot] = message.sequence
    change, after = message.change, message.after
    return Entry(
        sequence=message.sequence,
        kind=kind,
        effective_time=instant(message.effective_time),
        request_id=message.request_id,
        currency=message.currency,
        points=message.points,
        available_change=change.available,
        pending_change=change.pending,
        held_change=change.held,
        debt_change=change.debt,
        available_after=after.available,
        pending_after=after.pending,
        held_after=after.held,
        debt_after=after.debt,
        lot=lots.get(message.lot, 0),
        draws=tuple((lots.get(draw.lot, -1), draw.points) for draw in message.draws),
        requested=message.requested,
        forfeits=tuple((LIMITS.Name(cut.limit), cut.points) for cut in message.forfeits),
        counter=message.counter,
        counter_change=message.counter_change,
        reason=message.reason,
        reference=message.reference,
        mature_time=instant(message.mature_time) if message.HasField("mature_time") else None,
        expire_time=instant(message.expire_time) if message.HasField("expire_time") else None,
        related=message.related,
        unrecovered=message.unrecovered,
        expired=message.expired,
        counterpart=message.counterpart,
    )


def hold(message: resources_pb2.Hold, request_id: str, lots: dict[str, int]) -> Hold:
    """A hold in the model's shape, without the sequence of its entry, which it does not tell."""
    return Hold(
        request_id=request_id,
        sequence=0,
        currency=message.currency,
        points=message.points,
        create_time=instant(message.create_time),
        expire_time=instant(message.expire_time),
        draws=tuple((lots.get(draw.lot, -1), draw.points) for draw in message.draws),
        state=resources_pb2.Hold.State.Name(message.state),
        captured=message.captured,
    )

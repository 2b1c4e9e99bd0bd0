"""Between the reference model's values and the ledger's messages."""

from datetime import UTC, date, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from google.type import date_pb2

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from tests.properties.model_shapes import (
    Adjust,
    Command,
    Count,
    Earn,
    Entry,
    Limits,
    Op,
    Refused,
    Settings,
    Strategy,
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
    return ledger_pb2.Operation(
        redeem=ledger_pb2.RedeemOperation(
            points=op.points, currency=op.currency, allow_partial=op.allow_partial
        )
    )


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
        operations=[operation(op) for op in command.ops],
    )


def single_request(program: str, command: Command) -> Single:
    """The command as the request of its one operation's own method."""
    (op,) = command.ops
    post, one = post_request(program, command), operation(op)
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
            points=one.redeem.points,
            currency=one.redeem.currency,
            allow_partial=one.redeem.allow_partial,
        )
    request.program, request.member, request.request_id = program, post.member, post.request_id
    request.validate_only, request.reference = post.validate_only, post.reference
    if post.HasField("preconditions"):
        request.preconditions.CopyFrom(post.preconditions)
    if post.HasField("effective_time"):
        request.effective_time.CopyFrom(post.effective_time)
    return request


def day_message(day: date | None) -> date_pb2.Date | None:
    """A local date; None stays unset."""
    return None if day is None else date_pb2.Date(year=day.year, month=day.month, day=day.day)


def strategy_message(strategy: Strategy) -> resources_pb2.ExpiryStrategy:
    """An expiry strategy."""
    return resources_pb2.ExpiryStrategy(
        strategy=strategy.name,
        kind=resources_pb2.ExpiryStrategy.Kind.Value(strategy.kind),
        days=strategy.days,
        months=strategy.months,
        round_to=resources_pb2.ExpiryStrategy.RoundTo.Value(
            strategy.round_to or "ROUND_TO_UNSPECIFIED"
        ),
        date=day_message(strategy.day),
    )


def settings_message(settings: Settings) -> program_pb2.ProgramSettings:
    """All settings of a program."""
    limits = settings.limits
    return program_pb2.ProgramSettings(
        program=program_pb2.GeneralSettings(
            time_zone=str(settings.zone),
            currency_code=settings.money,
            auto_enrol=settings.auto_enrol,
            start=stamp(settings.start),
            end=stamp(settings.end),
        ),
        points=program_pb2.PointsSettings(
            maximum_balance=limits.maximum_balance,
            daily_cap=limits.daily_cap,
            monthly_cap=limits.monthly_cap,
            expiry=[strategy_message(strategy) for strategy in settings.strategies],
            default_expiry=settings.default_expiry,
        ),
        redemption=program_pb2.RedemptionSettings(
            minimum_balance=settings.minimum_balance,
            step=settings.step,
            conversion_rate=settings.rate,
            until=stamp(settings.redeem_until),
        ),
        currencies=program_pb2.CurrenciesSettings(alternate=len(settings.currencies) > 1),
    )


def currency_message(settings: Settings, currency: str) -> program_pb2.Currency:
    """A currency with what it overrides."""
    own = dict(settings.overrides).get(currency, Limits())
    return program_pb2.Currency(
        maximum_balance=own.maximum_balance,
        daily_cap=own.daily_cap,
        monthly_cap=own.monthly_cap,
        expiry=dict(settings.currency_expiry).get(currency, ""),
    )


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
    if message.lot and kind in {"EARNED", "ADJUSTED_IN"}:
        lots[message.lot] = message.sequence
    change, after = message.change, message.after
    assert (change.held, change.debt, after.held, after.debt) == (0, 0, 0, 0), message
    return Entry(
        sequence=message.sequence,
        kind=kind,
        effective_time=instant(message.effective_time),
        request_id=message.request_id,
        currency=message.currency,
        points=message.points,
        available_change=change.available,
        pending_change=change.pending,
        available_after=after.available,
        pending_after=after.pending,
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
    )

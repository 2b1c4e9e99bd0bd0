"""Commands, accounts and history between messages and the domain."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from kernel import ids
from kernel.calendar import Period
from kernel.refusals import FieldViolation, InvalidField
from loyalty.common.v1.money_pb2 import Money
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.ledger.domain.account import Balance, Entry, Kind, Posting
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
from services.ledger.domain.expirations import Expiration
from services.ledger.domain.policy import Policy
from services.ledger.domain.spending import redemption_value
from services.ledger.operations.context import Caller
from services.ledger.operations.outcomes import AccountView
from services.ledger.operations.read_account import AccountRead
from services.ledger.rpc.filling import fill_amounts, fill_balance, fill_stamp
from services.ledger.store.history import StoredLot

_Entry = resources_pb2.Entry
_SPENT = (Kind.REDEEMED, Kind.CAPTURED)
OPERATIONS_MAX = 2_000
_NOT_COMPARED: Final[
    Sequence[
        Literal["program", "member", "request_id", "validate_only", "preconditions", "logged_time"]
    ]
] = ("program", "member", "request_id", "validate_only", "preconditions", "logged_time")


def instant(timestamp: Timestamp) -> datetime:
    """The instant of a timestamp, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=UTC)


def stamp(moment: datetime) -> Timestamp:
    """The timestamp of an instant."""
    micros = ids.microseconds(moment)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


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


def _currency(policy: Policy, number: int | None) -> str:
    return "" if number is None else policy.config.currencies[number].id


def fill_entry(
    message: resources_pb2.Entry, entry: Entry, posting: Posting, posting_id: str, policy: Policy
) -> None:
    """Say an entry in a message; `posting_id` is the text of its posting's id."""
    lots = posting.lots
    message.sequence = entry.sequence
    message.posting = posting_id
    message.kind = _Entry.Kind.ValueType(entry.kind)
    message.points = entry.points
    fill_stamp(message.effective_time, entry.effective_time)
    fill_stamp(message.record_time, entry.record_time)
    message.requested = entry.requested
    message.digest = entry.digest
    message.request_id = posting.request_id or ""
    message.actor = posting.actor
    if posting.reference:
        message.reference = posting.reference
    if entry.reason:
        message.reason = entry.reason
    if entry.currency is not None:
        message.currency = _currency(policy, entry.currency)
        fill_amounts(message.change, entry.change)
        fill_amounts(message.after, entry.after)
    if entry.lot is not None:
        message.lot = str(lots.get(entry.lot, ""))
    for lot, points in entry.draws:
        message.draws.add(lot=str(lots.get(lot, "")), points=points)
    for limit, points in entry.forfeits:
        message.forfeits.add(limit=resources_pb2.Forfeit.Limit.ValueType(limit), points=points)
    if entry.source is not None:
        message.source.ParseFromString(entry.source)
    if entry.counter is not None:
        message.counter = policy.counter_name(entry.counter)
        message.counter_change = entry.counter_change or 0
    if entry.mature_time is not None:
        fill_stamp(message.mature_time, entry.mature_time)
    if entry.expire_time is not None:
        fill_stamp(message.expire_time, entry.expire_time)
    if entry.kind > Kind.COUNTED or posting.addressee is not None:
        _fill_rare(message, entry, posting)


def _fill_rare(message: resources_pb2.Entry, entry: Entry, posting: Posting) -> None:
    message.related = entry.related or 0
    message.unrecovered = entry.unrecovered or 0
    message.expired = entry.expired or 0
    if entry.counterpart is not None:
        message.counterpart = posting.names.get(entry.counterpart, "")
    if posting.addressee is not None:
        message.attributed_member = posting.member


def entry_message(entry: Entry, posting: Posting, policy: Policy) -> resources_pb2.Entry:
    """An entry as it is answered."""
    message = _Entry()
    fill_entry(message, entry, posting, str(posting.id() or ""), policy)
    return message


def fill_posting(
    message: resources_pb2.Posting, posting: Posting, program: str, policy: Policy
) -> None:
    """Say a posting with all its entries in a message."""
    posting_id = str(posting.id() or "")
    message.posting = posting_id
    message.program = program
    message.member = posting.member
    message.request_id = posting.request_id or ""
    fill_stamp(message.effective_time, posting.effective_time)
    fill_stamp(message.record_time, posting.record_time)
    message.revision = posting.revision
    message.version = posting.version
    message.actor = posting.actor
    if posting.reference:
        message.reference = posting.reference
    if posting.account_member:
        message.account_member = posting.account_member
    peer = posting.peer_id()
    if peer is not None:
        message.peer_posting = str(peer)
    entries = message.entries
    for entry in posting.entries:
        fill_entry(entries.add(), entry, posting, posting_id, policy)


def posting_message(posting: Posting, program: str, policy: Policy) -> resources_pb2.Posting:
    """A posting with all its entries as it is answered."""
    message = resources_pb2.Posting()
    fill_posting(message, posting, program, policy)
    return message


def fill_account(
    message: resources_pb2.Account, view: AccountView, program: str, member: str, policy: Policy
) -> None:
    """Say an account in a message; the default currency is always there."""
    message.program = program
    message.member = view.member or member
    if message.member != member:
        message.addressed_member = member
    message.kind = resources_pb2.Account.Kind.ValueType(view.kind)
    message.group = view.group
    message.state = resources_pb2.Account.State.ValueType(view.state)
    currencies = policy.config.currencies
    balances = view.balances if 0 in view.balances else {0: Balance(), **view.balances}
    for number in sorted(balances, key=lambda number: currencies[number].id):
        fill_balance(message.balances.add(currency=currencies[number].id), balances[number])
    message.version = view.version
    message.sequence = view.sequence
    fill_stamp(message.read_time, view.read_time)
    fill_stamp(message.enrol_time, view.enrol_time)
    if view.last_activity_time is not None:
        fill_stamp(message.last_activity_time, view.last_activity_time)


def account_message(
    view: AccountView, program: str, member: str, policy: Policy
) -> resources_pb2.Account:
    """An account as it is answered."""
    message = resources_pb2.Account()
    fill_account(message, view, program, member, policy)
    return message


def read_message(read: AccountRead, program: str, member: str) -> resources_pb2.Account:
    """An account with the counter windows asked for."""
    message = account_message(read.view, program, member, read.policy)
    for asked, value in read.counters:
        counted = message.counters.add(value=value)
        counted.window.counter = asked.counter
        counted.window.period = resources_pb2.CounterWindow.Period.ValueType(asked.period)
        counted.window.length = asked.length
        counted.window.time.CopyFrom(stamp(asked.time or read.view.read_time))
    return message


def worth(posting: Posting, policy: Policy) -> Money | None:
    """What the redeemed points of a posting are worth by a policy; None without a rate."""
    for entry in posting.entries:
        if entry.kind in _SPENT and entry.currency is not None:
            value = redemption_value(-entry.points, policy.currencies[entry.currency], policy)
            if value is not None:
                return Money(amount=f"{value:f}", currency=policy.config.currency_code)
    return None


def lot_message(
    stored: StoredLot, bucket: int, policy: Policy, expires: datetime | None
) -> resources_pb2.Lot:
    """A lot as it is answered."""
    lot = stored.lot
    message = resources_pb2.Lot(
        lot=str(lot.id),
        currency=_currency(policy, lot.currency),
        sequence=lot.sequence,
        points=lot.points,
        free=lot.free,
        held=lot.held,
        earn_time=stamp(lot.earn_time),
        mature_time=stamp(lot.mature_time),
        expiry_kind=resources_pb2.ExpiryStrategy.Kind.ValueType(lot.expiry_kind),
        posting=str(ids.uuid7(stored.record_time, bucket, lot.posting)),
    )
    moment = expires or lot.expire_time
    if moment is not None:
        message.expire_time.CopyFrom(stamp(moment))
    if stored.source is not None:
        message.source.ParseFromString(stored.source)
    return message


def expiration_message(expiration: Expiration, policy: Policy) -> resources_pb2.Expiration:
    """An upcoming expiration as it is answered."""
    day = expiration.date
    return resources_pb2.Expiration(
        currency=_currency(policy, expiration.currency),
        date=Date(year=day.year, month=day.month, day=day.day),
        expire_time=stamp(expiration.expire_time),
        points=expiration.points,
    )

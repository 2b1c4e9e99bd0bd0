"""Accounts, postings and lots of the domain as messages."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from chassis.refusals import status_of
from kernel import ids
from kernel.refusals import Refusal
from loyalty.common.v1.money_pb2 import Money
from loyalty.ledger.v1 import account_pb2, ledger_pb2, resources_pb2
from services.ledger.domain.account import Balance, Entry, Kind, Posting
from services.ledger.domain.expirations import Expiration
from services.ledger.domain.policy import Policy
from services.ledger.domain.spending import redemption_value
from services.ledger.operations.outcomes import AccountView
from services.ledger.operations.post import Written
from services.ledger.operations.read_account import AccountRead
from services.ledger.rpc.filling import fill_amounts, fill_balance, fill_stamp
from services.ledger.store.history import StoredLot

_Entry = resources_pb2.Entry
_SPENT = (Kind.REDEEMED, Kind.CAPTURED)


def instant(timestamp: Timestamp) -> datetime:
    """The instant of a timestamp, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=UTC)


def stamp(moment: datetime) -> Timestamp:
    """The timestamp of an instant."""
    micros = ids.microseconds(moment)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


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


def fill_result(
    message: ledger_pb2.BatchPostResult | account_pb2.ImportMembersResult,
    result: Written | Refusal,
    program: str,
) -> None:
    """What became of one request of many: what was recorded, or why not."""
    if isinstance(result, Refusal):
        message.status.CopyFrom(status_of(result))
    else:
        message.replayed = result.replayed
        fill_posting(message.posting, result.posting, program, result.policy)


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

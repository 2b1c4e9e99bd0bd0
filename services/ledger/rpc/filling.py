"""Messages that every answer has, filled in place.

Making one apart and copying it in costs three times as much, and a field that is set to what it is
anyway costs as much as any.
"""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from kernel import ids
from loyalty.ledger.v1 import resources_pb2
from services.ledger.domain.account import Balance

_last: tuple[datetime, int, int] = (ids.EPOCH, 0, 0)


def fill_stamp(message: Timestamp, moment: datetime) -> None:
    """Say an instant."""
    global _last  # noqa: PLW0603 - most instants of a transaction are one object
    if moment is not _last[0]:
        micros = ids.microseconds(moment)
        _last = (moment, micros // 1_000_000, micros % 1_000_000 * 1_000)
    _, message.seconds, message.nanos = _last


def fill_amounts(message: resources_pb2.Amounts, four: tuple[int, int, int, int]) -> None:
    """Say the four numbers of a balance, or what became of them."""
    # The first one always, so that the message is there where all are 0.
    message.available = four[0]
    if any(four[1:]):
        _, message.pending, message.held, message.debt = four


def fill_balance(message: resources_pb2.Balance, balance: Balance) -> None:
    """Say a balance with its totals."""
    message.available = balance.available
    message.pending = balance.pending
    message.held = balance.held
    message.debt = balance.debt
    totals = message.totals
    totals.earned = balance.earned
    totals.earning_reversed = balance.earning_reversed
    totals.redeemed = balance.redeemed
    totals.redemption_restored = balance.redemption_restored
    totals.expired = balance.expired
    totals.adjusted_in = balance.adjusted_in
    totals.adjusted_out = balance.adjusted_out
    totals.transferred_in = balance.transferred_in
    totals.transferred_out = balance.transferred_out

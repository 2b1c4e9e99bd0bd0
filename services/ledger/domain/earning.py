"""Giving points: earnings with their limits, adjustments, and counters."""

from datetime import date, datetime

from kernel import calendar
from kernel.refusals import CounterNotFound, LimitReached
from services.ledger.domain import counters
from services.ledger.domain.account import Balance, Kind, Limit, Lot
from services.ledger.domain.commands import Adjust, Count, Earn
from services.ledger.domain.config import POINTS_MAX, Expiry, ExpiryKind, LimitsPeriod
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.policy import CurrencyPolicy
from services.ledger.domain.refusals import InsufficientPoints, PointsOverflow, ProgramInactive
from services.ledger.domain.settle import come_in
from services.ledger.domain.spending import debit


def require_open(fold: Fold, instant: datetime) -> None:
    """Refuse with PROGRAM_INACTIVE outside the program's time of earning."""
    if not fold.policy.earning_open(instant):
        config = fold.policy.config
        raise ProgramInactive(start=config.start, end=config.end)


def earn(fold: Fold, operation: Earn) -> None:
    """Give points, cut by the limits."""
    posting = fold.posting
    assert posting is not None
    policy, effective_time = fold.policy, posting.effective_time
    require_open(fold, effective_time)
    currency = policy.currency(operation.currency)
    expiry = policy.expiry(operation.expiry, currency)
    balance = fold.account.balance(currency.number)
    points, forfeits = _limit(fold, currency, balance, operation.points, effective_time)
    if balance.net() + points > POINTS_MAX or balance.earned + points > POINTS_MAX:
        raise PointsOverflow
    if points:
        fold.count(-1 - currency.number, effective_time, points)
    fold.active(effective_time)
    mature_time = max(operation.mature_time or effective_time, effective_time)
    captured = policy.config.capture_source_value
    source = operation.source if captured else operation.bare_source
    lot = credit(
        fold, currency, expiry, points, mature_time, Kind.EARNED, requested=operation.points,
        forfeits=forfeits, source=source,
    )  # fmt: skip
    if lot is not None:
        come_in(fold, lot)


def _limit(
    fold: Fold, currency: CurrencyPolicy, balance: Balance, points: int, instant: datetime
) -> tuple[int, tuple[tuple[Limit, int], ...]]:
    """Cut points by the daily cap, the monthly cap and the maximum balance, in this order."""
    limits: list[tuple[Limit, int]] = []
    calendar_month = fold.policy.config.limits_period is LimitsPeriod.CALENDAR_MONTH
    if currency.daily_cap is not None or currency.monthly_cap is not None:
        day = calendar.local_day(instant, fold.policy.zone)
        days = fold.account.month(-1 - currency.number, calendar.month_index(day))
        if currency.daily_cap is not None:
            limits.append((Limit.DAILY_CAP, currency.daily_cap - days[day.day - 1]))
        if currency.monthly_cap is not None:
            counted = sum(days) if calendar_month else _in_billing_month(fold, currency, day)
            limits.append((Limit.MONTHLY_CAP, currency.monthly_cap - counted))
    if currency.maximum_balance is not None:
        limits.append((Limit.MAXIMUM_BALANCE, currency.maximum_balance - balance.net()))
    forfeits: list[tuple[Limit, int]] = []
    for limit, room in limits:
        kept = min(points, max(0, room))
        if kept < points:
            forfeits.append((limit, points - kept))
            points = kept
    return points, tuple(forfeits)


def _in_billing_month(fold: Fold, currency: CurrencyPolicy, day: date) -> int:
    """Points earned in the member's billing month of a day."""
    first, last = counters.billing_month(day, fold.account.billing_day or 1)
    number = -1 - currency.number
    months = {m: days for (n, m), days in fold.account.counters.items() if n == number}
    return counters.total(months, first, last)


def credit(
    fold: Fold,
    currency: CurrencyPolicy,
    expiry: Expiry,
    points: int,
    mature_time: datetime,
    kind: Kind,
    *,
    requested: int,
    forfeits: tuple[tuple[Limit, int], ...] = (),
    source: bytes | None = None,
    reason: str | None = None,
) -> Lot | None:
    """Enter a gift of points and make its lot; no lot where limits took everything."""
    posting = fold.posting
    assert posting is not None
    balance = fold.balance(currency.number)
    before = four(balance)
    lot = None
    if points:
        lot = fold.add_lot(currency, expiry, points, posting.effective_time, mature_time)
        if lot.pending:
            balance.pending += points
        else:
            balance.available += points
    if kind is Kind.EARNED:
        balance.earned += points
    else:
        balance.adjusted_in += points
    entry = fold.entry(kind, balance, currency.number, before, requested)
    entry.forfeits, entry.source, entry.reason = forfeits, source, reason
    if lot is not None:
        entry.lot = lot.sequence
        entry.mature_time = lot.mature_time
        instant = fold.expires(lot)
        moves_or_ends = lot.expire_time or lot.expiry_kind is ExpiryKind.INACTIVITY
        entry.expire_time = instant if moves_or_ends else None
        entry.expiry_kind = lot.expiry_kind
        entry.inactivity_months = lot.inactivity_months
        entry.expiry_days, entry.expiry_round = lot.expiry_days, lot.expiry_round
        posting.lots[lot.sequence] = lot.id
    fold.seal(entry)
    return lot


def adjust(fold: Fold, operation: Adjust) -> None:
    """Credit or debit points by an operator's decision."""
    posting = fold.posting
    assert posting is not None
    currency = fold.policy.currency(operation.currency)
    expiry = fold.policy.expiry(operation.expiry, currency)
    balance = fold.account.balance(currency.number)
    points = operation.points
    if points > 0:
        maximum = currency.maximum_balance
        if maximum is not None and balance.net() + points > maximum:
            raise LimitReached("points.maximum_balance", maximum, balance.net())
        if balance.net() + points > POINTS_MAX or balance.adjusted_in + points > POINTS_MAX:
            raise PointsOverflow
        lot = credit(
            fold, currency, expiry, points, posting.effective_time, Kind.ADJUSTED_IN,
            requested=points, reason=operation.reason,
        )  # fmt: skip
        assert lot is not None
        come_in(fold, lot)
        return
    wanted = -points
    if balance.available < wanted:
        if not operation.allow_partial or not balance.available:
            raise InsufficientPoints(balance.available, wanted)
        wanted = balance.available
    debit(fold, currency, wanted, Kind.ADJUSTED_OUT, -points, operation.reason)


def count(fold: Fold, operation: Count) -> None:
    """Add to a counter."""
    posting = fold.posting
    assert posting is not None
    require_open(fold, posting.effective_time)
    number = fold.policy.counter_numbers.get(operation.counter)
    if number is None or number < 0:
        raise CounterNotFound(operation.counter)
    fold.count(number, posting.effective_time, operation.value)
    entry = fold.entry(Kind.COUNTED, None, None, (0, 0, 0, 0))
    entry.counter, entry.counter_change = number, operation.value
    fold.seal(entry)

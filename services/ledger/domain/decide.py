"""Deciding a command: a column of guards, each with its refusal, in the contract's order."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from kernel import calendar
from kernel.money import rounded_down
from kernel.refusals import LimitReached, Refusal
from services.ledger.domain import counters
from services.ledger.domain.account import Account, Balance, Kind, Limit, Lot, Posting, State
from services.ledger.domain.commands import (
    Adjust,
    Command,
    Count,
    Earn,
    Enrol,
    Import,
    Redeem,
    WriteOff,
)
from services.ledger.domain.config import POINTS_MAX, Expiry, ExpiryKind
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.opening import import_member, write_off
from services.ledger.domain.permissions import Addressed, check_permission
from services.ledger.domain.policy import CurrencyPolicy, Policy
from services.ledger.domain.refusals import (
    BelowMinimumBalance,
    CounterChanged,
    CounterNotFound,
    EffectiveTimeInFuture,
    InDebt,
    InsufficientPoints,
    MemberExists,
    MemberFrozen,
    NotAMultipleOfStep,
    PointsOverflow,
    ProgramInactive,
    VersionChanged,
)
from services.ledger.domain.settle import expire_fresh, next_due


def check_preconditions(fold: Fold, command: Command) -> None:
    """Refuse with PRECONDITION_CHANGED where what the caller read is no longer so.

    Counter months that the expectations name must be loaded. Done before settling: what time alone
    changes is no reason to refuse.
    """
    account = fold.account
    if command.expected_version is not None and command.expected_version != account.version:
        raise VersionChanged(account.version, command.expected_version)
    for expectation in command.expect:
        number = fold.policy.counter_numbers.get(expectation.name)
        if number is None:
            raise CounterNotFound(expectation.name)
        first, last = counters.bounds(expectation.window, fold.now, fold.policy.zone)
        months = {m: days for (n, m), days in account.counters.items() if n == number}
        actual = counters.total(months, first, last)
        if actual != expectation.value:
            raise CounterChanged(expectation.name, expectation.value, actual)


def decide(fold: Fold, command: Command, addressed: Addressed | None = None) -> Posting:
    """Apply a command to a settled account, or refuse and leave the account as it was.

    `addressed` is the member whose commands land in this account of another one.
    """
    account = fold.account
    posting = opened(fold, command, addressed)
    fold.begin()
    try:
        _enrol(fold, command)
        for index, operation in enumerate(command.operations):
            try:
                _OPERATIONS[type(operation)](fold, operation)
            except Refusal as refusal:
                if command.indexed:
                    refusal.metadata["operation"] = str(index)
                raise
    except BaseException:
        fold.rollback()
        raise
    fold.commit()
    account.version += 1
    account.enrolled = True
    account.touched = True
    return posting


def opened(
    fold: Fold,
    command: Command,
    addressed: Addressed | None = None,
    others: Sequence[tuple[Account, Addressed | None]] = (),
) -> Posting:
    """Begin the posting of a command, or refuse what any command is refused for.

    `others` are further accounts that it touches. Refusals: EFFECTIVE_TIME_IN_FUTURE,
    MEMBER_FROZEN, PERMISSION_MISSING.
    """
    account = fold.account
    effective_time = command.effective_time or fold.now
    if effective_time > fold.now:
        raise EffectiveTimeInFuture(fold.now)
    for touched, through in ((account, addressed), *others):
        if through is not None and through.frozen:
            raise MemberFrozen(through.member)
        if touched.state is State.FROZEN:
            raise MemberFrozen(touched.member)
    if addressed is not None:
        for operation in command.operations:
            check_permission(addressed, operation)
    posting = Posting(
        request_id=command.request_id,
        digest=command.digest,
        version=account.version + 1,
        effective_time=effective_time,
        record_time=fold.now,
        revision=fold.policy.revision,
        actor=command.actor,
        reference=command.reference,
        first_entry=account.sequence + 1,
        bucket=account.bucket,
        member=account.member,
    )
    if addressed is not None:
        posting.member, posting.account_member = addressed.member, account.member
        posting.addressee = addressed.key
    fold.open_posting(posting)
    return posting


def redemption_value(points: int, currency: CurrencyPolicy, policy: Policy) -> Decimal | None:
    """What redeemed points are worth: points × conversion rate, rounded down; None without one."""
    if policy.conversion_rate is None:
        return None
    exact = Decimal(points).scaleb(-currency.scale) * policy.conversion_rate
    return rounded_down(exact, policy.config.currency_code)


def _enrol(fold: Fold, command: Command) -> None:
    account = fold.account
    first = command.operations[0]
    if account.enrolled:
        if isinstance(first, Enrol) or (isinstance(first, Import) and not first.balances):
            raise MemberExists(account.member)
        return
    assert fold.posting is not None
    if isinstance(first, Enrol):
        _require_open(fold, fold.posting.effective_time)
    account.enrol_time = fold.posting.effective_time
    fold.seal(fold.entry(Kind.ENROLLED, None, None, (0, 0, 0, 0)))


def _require_open(fold: Fold, instant: datetime) -> None:
    if not fold.policy.earning_open(instant):
        config = fold.policy.config
        raise ProgramInactive(start=config.start, end=config.end)


def _earn(fold: Fold, operation: Earn) -> None:
    posting = fold.posting
    assert posting is not None
    policy, effective_time = fold.policy, posting.effective_time
    _require_open(fold, effective_time)
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
    lot = _credit(
        fold, currency, expiry, points, mature_time, Kind.EARNED, requested=operation.points,
        forfeits=forfeits, source=operation.source,
    )  # fmt: skip
    if lot is not None:
        expire_fresh(fold, lot)
        fold.due_at(next_due(fold, lot))


def _limit(
    fold: Fold, currency: CurrencyPolicy, balance: Balance, points: int, instant: datetime
) -> tuple[int, tuple[tuple[Limit, int], ...]]:
    """Cut points by the daily cap, the monthly cap and the maximum balance, in this order."""
    limits: list[tuple[Limit, int]] = []
    if currency.daily_cap is not None or currency.monthly_cap is not None:
        day = calendar.local_day(instant, fold.policy.zone)
        days = fold.account.month(-1 - currency.number, calendar.month_index(day))
        if currency.daily_cap is not None:
            limits.append((Limit.DAILY_CAP, currency.daily_cap - days[day.day - 1]))
        if currency.monthly_cap is not None:
            limits.append((Limit.MONTHLY_CAP, currency.monthly_cap - sum(days)))
    if currency.maximum_balance is not None:
        limits.append((Limit.MAXIMUM_BALANCE, currency.maximum_balance - balance.net()))
    forfeits: list[tuple[Limit, int]] = []
    for limit, room in limits:
        kept = min(points, max(0, room))
        if kept < points:
            forfeits.append((limit, points - kept))
            points = kept
    return points, tuple(forfeits)


def _credit(
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
        posting.lots[lot.sequence] = lot.id
    fold.seal(entry)
    return lot


def _redeem(fold: Fold, operation: Redeem) -> None:
    posting = fold.posting
    assert posting is not None
    config = fold.policy.config
    if config.until is not None and posting.effective_time >= config.until:
        raise ProgramInactive(until=config.until)
    currency = fold.policy.currency(operation.currency)
    balance = fold.account.balance(currency.number)
    points = operation.points
    if balance.debt:
        raise InDebt(balance.debt)
    if balance.available < config.minimum_balance:
        raise BelowMinimumBalance(balance.available, config.minimum_balance)
    if points % config.step:
        raise NotAMultipleOfStep(config.step)
    if balance.available < points:
        points = balance.available - balance.available % config.step
        if not operation.allow_partial or not points:
            raise InsufficientPoints(balance.available, operation.points)
    fold.active(posting.effective_time)
    _debit(fold, currency, points, Kind.REDEEMED, operation.points)


def _debit(
    fold: Fold,
    currency: CurrencyPolicy,
    points: int,
    kind: Kind,
    requested: int,
    reason: str | None = None,
) -> None:
    """Enter a debit of available points, drawn first to expire first."""
    posting = fold.posting
    assert posting is not None
    balance = fold.balance(currency.number)
    before = four(balance)
    draws = fold.draw(currency.number, points)
    balance.available -= points
    if kind is Kind.REDEEMED:
        balance.redeemed += points
    else:
        balance.adjusted_out += points
    entry = fold.entry(kind, balance, currency.number, before, requested)
    entry.draws, entry.reason = draws, reason
    for sequence, _ in draws:
        posting.lots[sequence] = fold.account.lots[sequence].id
    fold.seal(entry)


def _adjust(fold: Fold, operation: Adjust) -> None:
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
        lot = _credit(
            fold, currency, expiry, points, posting.effective_time, Kind.ADJUSTED_IN,
            requested=points, reason=operation.reason,
        )  # fmt: skip
        assert lot is not None
        expire_fresh(fold, lot)
        fold.due_at(next_due(fold, lot))
        return
    wanted = -points
    if balance.available < wanted:
        if not operation.allow_partial or not balance.available:
            raise InsufficientPoints(balance.available, wanted)
        wanted = balance.available
    _debit(fold, currency, wanted, Kind.ADJUSTED_OUT, -points, operation.reason)


def _count(fold: Fold, operation: Count) -> None:
    posting = fold.posting
    assert posting is not None
    _require_open(fold, posting.effective_time)
    number = fold.policy.counter_numbers.get(operation.counter)
    if number is None or number < 0:
        raise CounterNotFound(operation.counter)
    fold.count(number, posting.effective_time, operation.value)
    entry = fold.entry(Kind.COUNTED, None, None, (0, 0, 0, 0))
    entry.counter, entry.counter_change = number, operation.value
    fold.seal(entry)


def _nothing(fold: Fold, operation: Enrol) -> None:
    """Opening the account is all that it asks for."""


_OPERATIONS: dict[type, Callable[..., None]] = {
    Earn: _earn,
    Redeem: _redeem,
    Adjust: _adjust,
    Count: _count,
    Enrol: _nothing,
    Import: import_member,
    WriteOff: write_off,
}

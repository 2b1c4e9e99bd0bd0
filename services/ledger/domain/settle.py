"""What time alone changes: pending lots mature, holds lapse, lots expire, members are told ahead.

`settle` runs before every command and every read, so that the book is true at the instant whether
or not a job has run. At one instant lots mature, then holds lapse, then debt is repaid, then lots
expire, then notice is given.
"""

from dataclasses import dataclass, field
from datetime import datetime

from services.ledger.domain import expiry, notices
from services.ledger.domain.account import Hold, HoldState, Kind, Lot, Posting
from services.ledger.domain.expiring import expire_lots
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.holds import lapse
from services.ledger.domain.postings import begin_posting
from services.ledger.domain.repayment import repay


def is_due(fold: Fold) -> bool:
    """Whether something may have fallen due; may be true too early, never too late."""
    due = fold.account.next_due_time
    return due is not None and due <= fold.now


def settle(fold: Fold) -> list[Posting]:
    """Post everything that fell due by now, one posting an instant, in order.

    All open lots and holds of the account must be loaded; the lots whole where holds, debts or
    notices are about.
    """
    postings: list[Posting] = []
    due = _due(fold)
    for instant in sorted({*due.matured, *due.lapsed, *due.expired, *due.noticed}):
        posting = begin_posting(fold, instant, settles=True)
        for lot in sorted(due.matured.get(instant, ()), key=lambda lot: lot.sequence):
            _mature(fold, lot)
        for hold in sorted(due.lapsed.get(instant, ()), key=lambda hold: hold.sequence):
            lapse(fold, hold)
        dead = due.expired.get(instant, ())
        for currency in sorted(fold.account.balances):
            repay(fold, currency)
            expire_lots(fold, [lot for lot in dead if lot.currency == currency], instant)
        notices.give(fold, due.noticed.get(instant, ()))
        # What was due may have been taken meanwhile: by a claim, or to repay debt.
        if posting.entries:
            postings.append(posting)
    _wake(fold)
    return postings


def come_in(fold: Fold, lot: Lot) -> None:
    """A lot was made: it is dead already, repays debt, or falls due later."""
    expire_fresh(fold, lot)
    if fold.account.balances[lot.currency].debt:
        repay(fold, lot.currency)
    fold.due_at(next_due(fold, lot))


def expire_fresh(fold: Fold, lot: Lot) -> None:
    """Expire a lot within the posting that made it, where it was dead before it was recorded."""
    instant = fold.expires(lot)
    if not lot.pending and instant <= fold.now:
        expire_lots(fold, [lot], instant)


def next_due(fold: Fold, lot: Lot) -> datetime:
    """When a lot matures, is told of or else expires; `FOREVER` where none of it lies ahead."""
    if not lot.free:
        return expiry.FOREVER
    if lot.pending:
        return lot.mature_time
    return notices.notice_time(fold, lot) or fold.expires(lot)


@dataclass(slots=True)
class _Due:
    matured: dict[datetime, list[Lot]] = field(default_factory=dict)
    lapsed: dict[datetime, list[Hold]] = field(default_factory=dict)
    expired: dict[datetime, list[Lot]] = field(default_factory=dict)
    noticed: dict[datetime, list[Lot]] = field(default_factory=dict)


def _due(fold: Fold) -> _Due:
    due = _Due()
    now, told = fold.now, fold.policy.config.expiry_notice_days > 0
    for lot in fold.account.lots.values():
        if lot.pending:
            # What was taken back while it was pending never matures.
            if lot.mature_time > now or not lot.free:
                continue
            due.matured.setdefault(lot.mature_time, []).append(lot)
        if lot.free:
            instant = fold.expires(lot)
            if instant <= now:
                due.expired.setdefault(instant, []).append(lot)
            if told:
                _notice(fold, due, lot)
    for hold in fold.account.holds.values():
        if hold.state is HoldState.OPEN and hold.expire_time <= now:
            due.lapsed.setdefault(hold.expire_time, []).append(hold)
            _after_lapse(fold, due, hold)
    return due


def _notice(fold: Fold, due: _Due, lot: Lot, earliest: datetime | None = None) -> None:
    instant = notices.notice_time(fold, lot)
    if instant is None:
        return
    if earliest is not None:
        instant = max(instant, earliest)
    if instant > fold.now:
        return
    lots = due.noticed.setdefault(instant, [])
    # A lot is told of once, also where a part of it was held and lapsed before.
    if earliest is None or lot not in lots:
        lots.append(lot)


def _after_lapse(fold: Fold, due: _Due, hold: Hold) -> None:
    """Lots that a hold gives back at its deadline may be dead by then, or die before now."""
    for sequence, _ in hold.parts:
        lot = fold.account.lots[sequence]
        instant = max(fold.expires(lot), hold.expire_time)
        if instant <= fold.now:
            lots = due.expired.setdefault(instant, [])
            if lot not in lots:
                lots.append(lot)
        _notice(fold, due, lot, hold.expire_time)


def _mature(fold: Fold, lot: Lot) -> None:
    balance = fold.balance(lot.currency)
    before = four(balance)
    lot.pending = False
    fold.account.changed_lots.add(lot.sequence)
    balance.pending -= lot.free
    balance.available += lot.free
    entry = fold.entry(Kind.MATURED, balance, lot.currency, before)
    entry.lot = lot.sequence
    fold.name(lot)
    fold.seal(entry)


def _wake(fold: Fold) -> None:
    account = fold.account
    due = min((next_due(fold, lot) for lot in account.lots.values()), default=expiry.FOREVER)
    for hold in account.holds.values():
        if hold.state is HoldState.OPEN:
            due = min(due, hold.expire_time)
    account.next_due_time = None if due == expiry.FOREVER else due
    account.touched = True

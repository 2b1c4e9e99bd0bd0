"""Merging a member into another: points with their dates, debt, counters on their days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from kernel import calendar
from services.ledger.domain.account import AccountKey, Kind, Link, Posting
from services.ledger.domain.commands import Command
from services.ledger.domain.config import POINTS_MAX
from services.ledger.domain.counters import DAYS
from services.ledger.domain.decide import opened
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.moved_lots import NO_MARKS, all_marks, give_marks
from services.ledger.domain.moves import (
    all_or_nothing,
    applied,
    check_holds,
    give_away,
    receive,
    share_now,
    side_posting,
)
from services.ledger.domain.refusals import PointsOverflow
from services.ledger.domain.repayment import repay

Months = Mapping[tuple[int, int], list[int]]


@dataclass(slots=True)
class Pair:
    """The accounts of both members in one program; `months` are all counters of the old one."""

    old: Fold
    new: Fold
    months: Months = field(default_factory=dict)


def merge(
    pairs: Sequence[Pair], command: Command, reason: str | None
) -> list[tuple[Fold, Posting]]:
    """Merge settled accounts, those of the program addressed first; all lots are loaded whole.

    The first posting is the one of the request, the second that of the remaining member there.
    Refusals: those of any command, HOLD_OPEN, POINTS_OVERFLOW.
    """
    for pair in pairs:
        share_now((pair.old, pair.new))
    folds = [fold for pair in pairs for fold in (pair.old, pair.new)]
    posting = opened(pairs[0].old, command, None, [(fold.account, None) for fold in folds])
    check_holds([pair.old for pair in pairs])
    postings: list[tuple[Fold, Posting]] = []
    with all_or_nothing(folds):
        for pair in pairs:
            if pair is not pairs[0]:
                side_posting(pair.old, posting)
            assert pair.old.posting is not None
            came = side_posting(pair.new, pair.old.posting)
            if pair is pairs[0]:
                posting.peer = came
            _merge(pair, reason)
            postings.extend((fold, fold.posting) for fold in (pair.old, pair.new) if fold.posting)
    for pair in pairs:
        pair.old.account.link, pair.old.account.link_to = Link.MERGED, pair.new.account.key
        pair.old.account.next_due_time = None
        pair.new.account.enrolled = True
    return applied(postings)


def _merge(pair: Pair, reason: str | None) -> None:
    old, new = pair.old, pair.new
    to, by = new.account.key, old.account.key
    assert old.posting is not None
    assert new.posting is not None
    old.posting.names[to], new.posting.names[by] = new.account.member, old.account.member
    entry = old.entry(Kind.LINKED, None, None, (0, 0, 0, 0))
    entry.counterpart, entry.reason = to, reason
    old.seal(entry)
    if not new.account.sequence:
        new.account.enrol_time = old.account.enrol_time
        since = old.account.enrol_time
        new.seal(new.entry(Kind.ENROLLED, None, None, (0, 0, 0, 0), effective_time=since))
    _move_activity(pair, by)
    for currency in sorted(old.account.balances):
        lots = sorted(old.account.lots.values(), key=lambda lot: lot.sequence)
        draws = [(lot.sequence, lot.free) for lot in lots if lot.currency == currency and lot.free]
        if draws:
            give_away(old, Kind.MOVED_OUT, currency, draws, to)
        marks = {
            lot.sequence: all_marks(lot)
            for lot in lots
            if lot.currency == currency and all_marks(lot) != NO_MARKS
        }
        give_marks(old, [(lot, marks.get(lot.sequence, NO_MARKS)) for lot in lots], to)
        receive(new, Kind.MOVED_IN, old, draws, by, marks=marks)
        move_debt(old, new, currency, to, by)
    _move_counters(pair, by)


def move_debt(old: Fold, new: Fold, currency: int, to: AccountKey, by: AccountKey) -> None:
    """Move what is owed, and repay it with what the other account has."""
    points = old.account.balance(currency).debt
    if not points:
        return
    balance = old.balance(currency)
    before = four(balance)
    balance.debt = 0
    balance.transferred_in += points
    entry = old.entry(Kind.MOVED_OUT, balance, currency, before, points)
    entry.counterpart = to
    old.seal(entry)
    balance = new.balance(currency)
    before = four(balance)
    balance.debt += points
    balance.transferred_out += points
    if balance.debt > POINTS_MAX or balance.transferred_out > POINTS_MAX:
        raise PointsOverflow
    entry = new.entry(Kind.MOVED_IN, balance, currency, before, points)
    entry.counterpart = by
    new.seal(entry)
    repay(new, currency)


def _move_activity(pair: Pair, by: AccountKey) -> None:
    """What either of them did keeps alive what expires by inactivity: they are one person."""
    last, known = pair.old.account.last_activity_time, pair.new.account.last_activity_time
    if last is None or (known is not None and known >= last):
        return
    pair.new.active(last)
    entry = pair.new.entry(Kind.MOVED_IN, None, None, (0, 0, 0, 0), effective_time=last)
    entry.counterpart = by
    pair.new.seal(entry)


def _move_counters(pair: Pair, by: AccountKey) -> None:
    """Add every day of every counter to the same day of the remaining member's."""
    new = pair.new
    zone = new.policy.zone
    for counter, month in sorted(pair.months):
        year, index = divmod(month, 12)
        for day in range(DAYS):
            value = pair.months[counter, month][day]
            if not value:
                continue
            instant = calendar.first_instant(date(year, index + 1, day + 1), zone)
            new.count(counter, instant, value)
            entry = new.entry(Kind.MOVED_IN, None, None, (0, 0, 0, 0), effective_time=instant)
            entry.counter, entry.counter_change, entry.counterpart = counter, value, by
            new.seal(entry)

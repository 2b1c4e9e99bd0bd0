"""Points that become available: they meet claims, repay debt, and expire, in this order."""

from collections.abc import Sequence
from datetime import datetime

from services.ledger.domain.account import Kind, Lot
from services.ledger.domain.expiring import expire_lots
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.notices import notice_time

Returned = Sequence[tuple[Lot, int]]
"""Lots and how many points came back to the free part of each."""


def came_back(fold: Fold, returned: Returned) -> None:
    """Points were put back into lots by a command: claims first, then debt, then expiry.

    What comes back too late to be spent still pays what is owed: debt is a claim of its own.
    """
    meet_claims(fold, returned)
    for currency in sorted({lot.currency for lot, _ in returned}):
        repay(fold, currency)
    assert fold.posting is not None
    dead: dict[datetime, list[Lot]] = {}
    for lot, _ in returned:
        instant = fold.expires(lot)
        if lot.free and instant <= fold.now:
            dead.setdefault(max(instant, fold.posting.effective_time), []).append(lot)
        elif lot.free:
            fold.due_at(notice_time(fold, lot) or instant)
    for instant in sorted(dead):
        expire_lots(fold, dead[instant], instant)


def meet_claims(fold: Fold, returned: Returned) -> None:
    """Take what came back to lots whose reversed earning could not be taken whole.

    An entry EARNING_REVERSED for which nothing was requested says so. The counter of points earned
    gets back, on the day of the earning, what is taken now.
    """
    for lot, points in returned:
        met = min(points, lot.free, lot.claim)
        if not met:
            continue
        balance = fold.balance(lot.currency)
        before = four(balance)
        fold.take(lot, met)
        fold.amend(lot, claim=lot.claim - met)
        balance.available -= met
        balance.earning_reversed += met
        fold.count(-1 - lot.currency, lot.earn_time, -met)
        entry = fold.entry(Kind.EARNING_REVERSED, balance, lot.currency, before)
        entry.draws, entry.related = ((lot.sequence, met),), lot.sequence
        fold.name(lot)
        fold.seal(entry)
    for lot, points in returned:
        _meet_others(fold, lot, points)


def _meet_others(fold: Fold, lot: Lot, points: int) -> None:
    """What came back to a lot meets claims of other lots, where it stands for what they claim.

    Lots of one earning may be several, after a merge or where somebody joined or left a group: what
    comes back to one of them meets the claims of all. And what comes back to a lot in whose place
    others were taken meets claims of any lot: otherwise returning two purchases, of which one paid
    for the other, and then giving back what the other bought, would leave points of neither.
    """
    lots = fold.account.lots
    claimed = [
        lots[sequence]
        for sequence in sorted(lots)
        if lots[sequence].claim
        and lots[sequence].currency == lot.currency
        and sequence != lot.sequence
    ]
    for other in claimed:
        if _root(fold, other) == _root(fold, lot):
            points -= _meet(fold, lot, other, min(points, lot.free, other.claim))
    for other in claimed:
        points -= _meet(fold, lot, other, min(points, lot.free, lot.covered, other.claim))


def _meet(fold: Fold, lot: Lot, other: Lot, met: int) -> int:
    if not met:
        return 0
    balance = fold.balance(lot.currency)
    before = four(balance)
    fold.take(lot, met)
    # What comes back to the other lot later stands for what this one stood for.
    cover = min(lot.covered, met)
    fold.amend(lot, covered=lot.covered - cover)
    fold.amend(other, claim=other.claim - met, covered=other.covered + cover)
    balance.available -= met
    balance.earning_reversed += met
    fold.count(-1 - lot.currency, other.earn_time, -met)
    entry = fold.entry(Kind.EARNING_REVERSED, balance, lot.currency, before)
    entry.draws, entry.related = ((lot.sequence, met),), other.sequence
    fold.name(lot)
    fold.seal(entry)
    return met


def _root(fold: Fold, lot: Lot) -> tuple[int, int, int]:
    """The lot that an earning made, wherever points of it are now."""
    return lot.origin or (*fold.account.key, lot.sequence)


def repay(fold: Fold, currency: int) -> None:
    """Repay debt with available points: never are both positive."""
    balance = fold.account.balance(currency)
    points = min(balance.available, balance.debt)
    if not points:
        return
    balance = fold.balance(currency)
    before = four(balance)
    draws = fold.draw(currency, points)
    balance.available -= points
    balance.debt -= points
    entry = fold.entry(Kind.DEBT_REPAID, balance, currency, before)
    entry.draws = draws
    for sequence, repaid in draws:
        lot = fold.account.lots[sequence]
        fold.amend(lot, repaid=lot.repaid + repaid)
        fold.name(lot)
    fold.seal(entry)

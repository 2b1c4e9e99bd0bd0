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
    gets back, on the day of the earning, what is taken now. Lots of one earning may be several,
    after a merge or where somebody joined or left a group: what comes back to one of them meets
    the claims of all.
    """
    owing = sorted(
        (lot for lot in fold.account.lots.values() if lot.claim or lot.covered),
        key=lambda lot: lot.sequence,
    )
    left: list[tuple[Lot, int]] = []
    for lot, points in returned if any(each.claim for each in owing) else ():
        rest = points
        for other in sorted(_family(fold, lot, owing), key=lambda other: other is not lot):
            rest -= _meet(fold, lot, other, min(rest, lot.free, other.claim), ())
        left.append((lot, rest))
    for lot, points in left:
        _meet_others(fold, lot, points, owing)


def _meet_others(fold: Fold, lot: Lot, points: int, owing: Sequence[Lot]) -> None:
    """What comes back to a lot in whose place others were taken meets claims of any lot.

    Otherwise returning two purchases, of which one paid for the other, and then giving back what
    the other bought, would leave points of neither.
    """
    family = [each for each in _family(fold, lot, owing) if each is not lot]
    for other in owing:
        if other is not lot and other.currency == lot.currency:
            room = lot.covered + sum(each.covered for each in family)
            points -= _meet(fold, lot, other, min(points, lot.free, room, other.claim), family)


def _family(fold: Fold, lot: Lot, lots: Sequence[Lot]) -> list[Lot]:
    root = _root(fold, lot)
    return [other for other in lots if _root(fold, other) == root]


def _meet(fold: Fold, lot: Lot, other: Lot, met: int, family: Sequence[Lot]) -> int:
    """Take points that came back to a lot for a claim; lots of its `family` may cover it, too."""
    if not met:
        return 0
    balance = fold.balance(lot.currency)
    before = four(balance)
    fold.take(lot, met)
    covers = _covers(lot, family, met) if other is not lot else []
    for each, points in covers:
        fold.amend(each, covered=each.covered - points)
    # What comes back to the other lot later stands for what these ones stood for.
    cover = sum(points for _, points in covers)
    fold.amend(other, claim=other.claim - met, covered=other.covered + cover)
    balance.available -= met
    balance.earning_reversed += met
    fold.count(-1 - lot.currency, other.earn_time, -met)
    entry = fold.entry(Kind.EARNING_REVERSED, balance, lot.currency, before)
    entry.draws, entry.related = ((lot.sequence, met),), other.sequence
    if any(each is not lot for each, _ in covers):
        # Of the lot itself it goes without saying.
        changes = [(each.sequence, -points) for each, points in covers]
        entry.covers = (*changes, (other.sequence, cover))
    fold.name(lot)
    fold.seal(entry)
    return met


def _covers(lot: Lot, family: Sequence[Lot], points: int) -> list[tuple[Lot, int]]:
    """Which lots' `covered` pays for meeting a claim: the lot's own first."""
    covers = []
    for each in (lot, *family):
        cover = min(each.covered, points)
        points -= cover
        if cover:
            covers.append((each, cover))
    return covers


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

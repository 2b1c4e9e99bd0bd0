"""Taking back earnings and what they counted, and giving back redemptions, up to the original.

What an earning gave is taken from its own lot first: what is pending or free of it, then what of it
repaid debt (which is owed again), then what of it expired counts as gone. The rest is taken by
`returns.policy`, and what cannot be taken stays a claim on the lot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kernel import calendar
from kernel.refusals import FieldViolation, InvalidField
from services.ledger.domain.account import AccountKey, Balance, Entry, Kind, Lot
from services.ledger.domain.commands import Reverse
from services.ledger.domain.config import POINTS_MAX, ExpiryKind, ReturnsPolicy
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.moved_lots import anew, describe
from services.ledger.domain.refusals import (
    NotReversible,
    PointsOverflow,
    ReversalExceeds,
    SettingOff,
)
from services.ledger.domain.repayment import came_back, repay

SPENT = frozenset({Kind.REDEEMED, Kind.CAPTURED})
REVERSIBLE = SPENT | {Kind.EARNED, Kind.COUNTED}

Parts = list[tuple[Entry, int]]


def reverse(fold: Fold, operation: Reverse) -> None:
    """Take back or give back what is left of a posting, or parts of it.

    Refusals: NOT_REVERSIBLE, SETTING_OFF, REVERSAL_EXCEEDS, POINTS_OVERFLOW.
    """
    found = {entry.sequence: entry for entry in operation.entries if entry.kind in REVERSIBLE}
    named = {sequence for sequence, _ in operation.parts}
    if not found or not named <= found.keys():
        raise NotReversible(operation.posting)
    spent = any(found[sequence].kind in SPENT for sequence in named or found)
    if spent and operation.by_operator and not fold.policy.config.redemption_reversal:
        raise SettingOff("redemption.reversal")
    currencies = set()
    for entry, points in parts_of(fold, operation, found):
        fold.reverse((*operation.account, entry.sequence), points)
        if entry.kind is Kind.COUNTED:
            _count_back(fold, operation, entry, points)
            continue
        assert entry.currency is not None
        currencies.add(entry.currency)
        if entry.kind is Kind.EARNED:
            _take_back(fold, operation, entry, points)
        else:
            _restore(fold, operation, entry, points)
    for currency in sorted(currencies):
        repay(fold, currency)


def left_of(fold: Fold, account: AccountKey, entry: Entry) -> int:
    """How much of an entry was not reversed yet."""
    whole = entry.counter_change or 0 if entry.kind is Kind.COUNTED else entry.points
    return abs(whole) - fold.account.reversed.get((*account, entry.sequence), 0)


def parts_of(fold: Fold, operation: Reverse, found: dict[int, Entry]) -> Parts:
    """How much of which entries is reversed. Refuses with REVERSAL_EXCEEDS, INVALID_FIELD."""
    lefts = [(entry, left_of(fold, operation.account, entry)) for entry in found.values()]
    if operation.parts:
        by_sequence = {entry.sequence: left for entry, left in lefts}
        for sequence, points in operation.parts:
            if points > by_sequence[sequence]:
                raise ReversalExceeds(by_sequence[sequence], points)
        return [(found[sequence], points) for sequence, points in operation.parts]
    if not operation.points:
        if not any(left for _, left in lefts):
            raise ReversalExceeds(0, 1)
        return [(entry, left) for entry, left in lefts if left]
    lefts = [(entry, left) for entry, left in lefts if entry.kind is not Kind.COUNTED]
    if len({entry.currency for entry, _ in lefts}) > 1:
        raise InvalidField(FieldViolation("points", "the posting has points of several currencies"))
    most, wanted = sum(left for _, left in lefts), operation.points
    if wanted > most:
        raise ReversalExceeds(most, wanted)
    parts: Parts = []
    for entry, left in lefts:
        taken = min(left, wanted)
        wanted -= taken
        if taken:
            parts.append((entry, taken))
    return parts


def _count_back(fold: Fold, operation: Reverse, original: Entry, points: int) -> None:
    """Set a counter back on the day on which it counted."""
    assert original.counter is not None
    change = -points if (original.counter_change or 0) > 0 else points
    fold.count(original.counter, original.effective_time, change)
    entry = fold.entry(
        Kind.COUNT_REVERSED, None, None, (0, 0, 0, 0), effective_time=original.effective_time
    )
    entry.counter, entry.counter_change = original.counter, change
    if operation.account == fold.account.key:
        entry.related = original.sequence
    entry.reason = operation.reason or None
    fold.seal(entry)


# Earnings


@dataclass(slots=True)
class _Part:
    """What of one lot is taken back: what is there, what is owed again, what expired is gone."""

    own: int = 0
    again: int = 0
    expired: int = 0

    def all(self) -> int:
        """How many points of the earning that comes to."""
        return self.own + self.again + self.expired


def _take_back(fold: Fold, operation: Reverse, original: Entry, points: int) -> None:
    """Take an earning back: from its lot, or from what of it was moved, one entry a lot."""
    lots = _lots_of(fold, operation.account, original.sequence)
    parts, rest = _parts(lots, points)
    for lot, part in zip(lots[:-1], parts[:-1], strict=True):
        if part.all():
            _take_from(fold, operation, original, lot, part, 0)
    if not lots:
        _take_from(fold, operation, original, None, _Part(), rest)
    elif parts[-1].all() or rest:
        _take_from(fold, operation, original, lots[-1], parts[-1], rest)


def _parts(lots: Sequence[Lot], points: int) -> tuple[list[_Part], int]:
    """What lots of one earning give of so many points, as if they were one; and the rest."""
    parts = [_Part() for _ in lots]
    for lot, part in zip(lots, parts, strict=True):
        part.own = min(lot.free, points)
        points -= part.own
    for lot, part in zip(lots, parts, strict=True):
        part.again = min(lot.repaid, points)
        points -= part.again
    for lot, part in zip(lots, parts, strict=True):
        part.expired = min(lot.expired, points)
        points -= part.expired
    return parts, points


def _take_from(
    fold: Fold, operation: Reverse, original: Entry, lot: Lot | None, part: _Part, rest: int
) -> None:
    """Take back one lot's part, and the rest by the program's policy."""
    currency = original.currency
    assert currency is not None
    balance = fold.balance(currency)
    before = four(balance)
    draws = []
    if lot is not None:
        _take_own(fold, lot, part)
        draws = [(lot.sequence, part.own)] if part.own else []
    pending = part.own if lot is not None and lot.pending else 0
    available, debt, left = part.own - pending, part.again, rest
    policy = fold.policy.config.returns_policy
    others: Sequence[tuple[int, int]] = ()
    if policy is not ReturnsPolicy.OWN_LOTS_ONLY and left:
        others = fold.draw(currency, min(left, balance.available - available))
        draws.extend(others)
    covered = sum(drawn for _, drawn in others)
    available += covered
    left -= covered
    if policy is ReturnsPolicy.ALLOW_DEBT:
        more = _room(fold, balance.debt + debt, left)
        debt += more
        left -= more
    _book(balance, available, pending, debt)
    fold.count(-1 - currency, original.effective_time, -(available + pending + debt))
    entry = fold.entry(Kind.EARNING_REVERSED, balance, currency, before, part.all() + rest)
    entry.draws, entry.reason = tuple(draws), operation.reason or None
    entry.unrecovered, entry.expired = left or None, part.expired or None
    if lot is None and (covered or left):
        # Nothing of it is here: a lot of no points keeps it for what comes back.
        lot = _made_anew(fold, operation, operation.lots[original.sequence], 0)
        fold.put_lot(lot)
        describe(fold, entry, lot)
    if lot is None:
        # The day on which it was earned is said here.
        entry.earn_time = original.effective_time
    else:
        entry.related = lot.sequence
        if covered or left:
            fold.amend(lot, covered=lot.covered + covered, claim=lot.claim + left)
    for sequence, _ in draws:
        fold.name(fold.account.lots[sequence])
    fold.seal(entry)


def _take_own(fold: Fold, lot: Lot, part: _Part) -> None:
    if part.own:
        fold.take(lot, part.own)
    if part.again:
        fold.amend(lot, repaid=lot.repaid - part.again)
    if part.expired:
        fold.gone(lot, -part.expired)


def _room(fold: Fold, debt: int, points: int) -> int:
    """How much more may be owed."""
    floor = fold.policy.config.debt_floor
    room = points if floor is None else min(points, max(0, floor - debt))
    if debt + room > POINTS_MAX:
        raise PointsOverflow
    return room


def _book(balance: Balance, available: int, pending: int, debt: int) -> None:
    balance.available -= available
    balance.pending -= pending
    balance.debt += debt
    balance.earning_reversed += available + pending + debt


# Redemptions


def _restore(fold: Fold, operation: Reverse, original: Entry, points: int) -> None:
    """Put points back into the lots that they came from, the last drawn first."""
    balance = fold.account.balance(original.currency or 0)
    if balance.net() + points > POINTS_MAX:
        raise PointsOverflow
    before = fold.account.reversed[*operation.account, original.sequence] - points
    here = operation.account == fold.account.key
    days = fold.policy.config.reversal_grace_days
    in_time: list[tuple[Lot, int]] = []
    late: list[tuple[Lot, int]] = []
    returned: list[tuple[Lot, int]] = []
    for sequence, drawn in _last_drawn(original, before, points):
        if not here:
            lot = _remake(fold, operation, operation.lots[sequence], drawn)
            returned.append((lot, drawn))
            continue
        lot = fold.account.lots[sequence]
        dead = days and fold.expires(lot) <= fold.now
        (late if dead else in_time).append((lot, drawn))
        returned.append((lot, drawn))
    _put_back(fold, operation, original, in_time)
    if late:
        until = calendar.days_after(fold.now, days, fold.policy.zone)
        for lot, _ in late:
            fold.amend(lot, expiry_kind=ExpiryKind.FIXED, expire_time=until)
        _put_back(fold, operation, original, late, grace=True)
    came_back(fold, returned)


def _last_drawn(original: Entry, before: int, points: int) -> list[tuple[int, int]]:
    """Which lots give back so many points after `before` of them came back already."""
    draws = []
    for sequence, drawn in reversed(original.draws):
        skipped = min(drawn, before)
        before -= skipped
        taken = min(drawn - skipped, points)
        points -= taken
        if taken:
            draws.append((sequence, taken))
    return draws


def _put_back(
    fold: Fold,
    operation: Reverse,
    original: Entry,
    returned: Sequence[tuple[Lot, int]],
    *,
    grace: bool = False,
) -> None:
    """Enter what came back to lots; with `grace` the entry says until when they live."""
    if not returned:
        return
    assert original.currency is not None
    balance = fold.balance(original.currency)
    before = four(balance)
    for lot, points in returned:
        fold.give_back(lot, points)
        fold.name(lot)
        balance.available += points
        balance.redemption_restored += points
    points = sum(drawn for _, drawn in returned)
    entry = fold.entry(Kind.REDEMPTION_RESTORED, balance, original.currency, before, points)
    entry.draws = tuple((lot.sequence, drawn) for lot, drawn in returned)
    entry.related, entry.reason = original.sequence, operation.reason or None
    if grace:
        entry.expire_time = returned[0][0].expire_time
    fold.seal(entry)


def _remake(fold: Fold, operation: Reverse, source: Lot, points: int) -> Lot:
    """Points of a lot of the account that was merged into this one: a lot anew."""
    lot = _made_anew(fold, operation, source, points)
    balance = fold.balance(lot.currency)
    before = four(balance)
    days = fold.policy.config.reversal_grace_days
    if days and fold.expires(lot) <= fold.now:
        lot.expiry_kind = ExpiryKind.FIXED
        lot.expire_time = calendar.days_after(fold.now, days, fold.policy.zone)
    lot.claim = _claim_of(fold, operation, source, points)
    fold.put_lot(lot)
    balance.available += points
    balance.redemption_restored += points
    entry = fold.entry(Kind.REDEMPTION_RESTORED, balance, lot.currency, before, points)
    describe(fold, entry, lot)
    entry.unrecovered, entry.reason = lot.claim or None, operation.reason or None
    fold.seal(entry)
    return lot


def _made_anew(fold: Fold, operation: Reverse, source: Lot, points: int) -> Lot:
    """The lot of the next entry, for points of a lot of the account that the posting is in."""
    lot = anew(fold, source, points)
    lot.pending, lot.origin = False, source.origin or (*operation.account, source.sequence)
    return lot


def _claim_of(fold: Fold, operation: Reverse, source: Lot, points: int) -> int:
    """What of a claim that stayed in the other account such points meet here.

    Accounts merged before claims came along have some. How much of it was met here is kept with the
    reversals, under the negative of the lot; below 0 is what was claimed here when no lot could be.
    """
    place = (*operation.account, -source.sequence)
    claim = min(points, source.claim - fold.account.reversed.get(place, 0))
    if claim:
        fold.reverse(place, claim)
    return claim


def _lots_of(fold: Fold, account: AccountKey, sequence: int) -> list[Lot]:
    """The lot that an entry made, and what of it was moved into this account or came back to it."""
    origin = (*account, sequence)
    moved = [lot for lot in fold.account.lots.values() if lot.origin == origin]
    moved.sort(key=lambda lot: lot.sequence)
    own = fold.account.lots.get(sequence)
    if account == fold.account.key and own is not None:
        return [own, *moved]
    return moved

"""Points that go from one account to another: two folds, one instant, all or nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from services.ledger.domain.account import AccountKey, HoldState, Kind, Lot, Posting
from services.ledger.domain.config import POINTS_MAX, ExpiryKind
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.moved_lots import NO_MARKS, Marks, anew, describe, mark
from services.ledger.domain.permissions import Addressed
from services.ledger.domain.postings import begin_posting
from services.ledger.domain.refusals import HoldOpen, PointsOverflow
from services.ledger.domain.settle import come_in

Draws = Sequence[tuple[int, int]]


def share_now(folds: Sequence[Fold]) -> None:
    """Have one command's accounts of one program know the same instant, so that peers agree."""
    now = max(fold.now for fold in folds)
    for fold in folds:
        fold.now = now


def check_holds(folds: Sequence[Fold]) -> None:
    """Refuse with HOLD_OPEN accounts of which points are set aside: those cannot move."""
    count = sum(
        hold.state is HoldState.OPEN for fold in folds for hold in fold.account.holds.values()
    )
    if count:
        raise HoldOpen(count)


@contextmanager
def all_or_nothing(folds: Sequence[Fold]) -> Iterator[None]:
    """Keep what is done to all of the folds, or take it back from all."""
    for fold in folds:
        fold.begin()
    try:
        yield
    except BaseException:
        for fold in folds:
            fold.rollback()
        raise
    for fold in folds:
        fold.commit()


def applied(postings: Sequence[tuple[Fold, Posting]]) -> list[tuple[Fold, Posting]]:
    """Those postings that say anything; they raise their accounts' versions."""
    done = [(fold, posting) for fold, posting in postings if posting.entries]
    for fold, _ in done:
        fold.account.version += 1
        fold.account.touched = True
    for _, posting in done:
        if all(posting.peer is not other for _, other in done):
            posting.peer = None
    return done


def side_posting(fold: Fold, of: Posting, addressed: Addressed | None = None) -> Posting:
    """Begin the posting of another account that belongs together with a command's own one."""
    return begin_posting(
        fold,
        of.effective_time,
        actor=of.actor,
        reference=of.reference,
        addressed=addressed,
        peer=of,
    )


def give_away(
    fold: Fold, kind: Kind, currency: int, draws: Draws, to: AccountKey, reason: str | None = None
) -> None:
    """Enter points that leave for another account, from lots that have them free."""
    posting = fold.posting
    assert posting is not None
    points = sum(part for _, part in draws)
    balance = fold.balance(currency)
    before = four(balance)
    for sequence, part in draws:
        lot = fold.account.lots[sequence]
        if lot.pending:
            balance.pending -= part
        else:
            balance.available -= part
        fold.take(lot, part)
        fold.name(lot)
    balance.transferred_out += points
    if balance.transferred_out > POINTS_MAX:
        raise PointsOverflow
    entry = fold.entry(kind, balance, currency, before, points)
    entry.draws, entry.counterpart, entry.reason = tuple(draws), to, reason
    fold.seal(entry)


def receive(
    fold: Fold,
    kind: Kind,
    giver: Fold,
    draws: Draws,
    by: AccountKey,
    reason: str | None = None,
    marks: Mapping[int, Marks] = {},
) -> None:
    """Enter points that came from lots of another account: one lot for each, with its dates.

    `marks` is what else is known of lots, and comes along, by their sequences.
    """
    points_of = dict(draws)
    # Lots are spent and claimed from in the order in which they were made.
    order = sorted({*points_of, *marks}) if marks else list(points_of)
    made = []
    for sequence in order:
        lot = _lot_like(fold, kind, giver, giver.account.lots[sequence])
        points = points_of.get(sequence, 0)
        lot.points = lot.free = points
        _receive(fold, kind, lot, by, reason, marks.get(sequence, NO_MARKS))
        made.append(lot)
    for lot in made:
        if lot.points:
            come_in(fold, lot)


def _receive(
    fold: Fold, kind: Kind, lot: Lot, by: AccountKey, reason: str | None, marks: Marks
) -> None:
    balance, points = fold.balance(lot.currency), lot.points
    before = four(balance)
    balance.transferred_in += points
    if balance.net() + points > POINTS_MAX or balance.transferred_in > POINTS_MAX:
        raise PointsOverflow
    fold.put_lot(lot)
    if lot.pending:
        balance.pending += points
    else:
        balance.available += points
    entry = fold.entry(kind, balance, lot.currency, before, points)
    entry.counterpart, entry.reason = by, reason
    describe(fold, entry, lot)
    mark(lot, entry, marks)
    fold.seal(entry)


def _lot_like(fold: Fold, kind: Kind, giver: Fold, source: Lot) -> Lot:
    """The lot of the next entry, with the dates of another account's lot.

    Where it expires by inactivity its clock has been set by what the giver did.
    """
    lot, last = anew(fold, source, 0), giver.account.last_activity_time
    if source.expiry_kind is ExpiryKind.INACTIVITY and not source.pending and last is not None:
        lot.mature_time = max(source.mature_time, last)
    lot.origin = None
    if kind is Kind.MOVED_IN:
        lot.origin = source.origin or (*giver.account.key, source.sequence)
    return lot

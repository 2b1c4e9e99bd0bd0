"""Points that go from one account to another: two folds, one instant, all or nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.ledger.domain.account import AccountKey, HoldState, Kind, Lot, Posting
from services.ledger.domain.config import POINTS_MAX, ExpiryKind
from services.ledger.domain.fold import Fold, four
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
) -> None:
    """Enter points that came from lots of another account: one lot for each, with its dates."""
    made = [_receive(fold, kind, giver, *draw, by, reason) for draw in draws]
    for lot in made:
        come_in(fold, lot)


def _receive(
    fold: Fold,
    kind: Kind,
    giver: Fold,
    sequence: int,
    points: int,
    by: AccountKey,
    reason: str | None,
) -> Lot:
    source = giver.account.lots[sequence]
    lot = _lot_like(fold, giver, source, points)
    if kind is Kind.MOVED_IN:
        lot.origin = source.origin or (*giver.account.key, sequence)
    balance = fold.balance(lot.currency)
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
    entry.lot, entry.earn_time, entry.mature_time = lot.sequence, lot.earn_time, lot.mature_time
    if lot.expire_time is not None or lot.expiry_kind is ExpiryKind.INACTIVITY:
        entry.expire_time = fold.expires(lot)
    entry.expiry_kind, entry.inactivity_months = lot.expiry_kind, lot.inactivity_months
    entry.expiry_days, entry.expiry_round = lot.expiry_days, lot.expiry_round
    entry.counterpart, entry.reason = by, reason
    fold.name(lot)
    fold.seal(entry)
    return lot


def _lot_like(fold: Fold, giver: Fold, source: Lot, points: int) -> Lot:
    """The lot of the next entry, with the dates of another account's lot.

    Where it expires by inactivity its clock has been set by what the giver did.
    """
    mature_time, last = source.mature_time, giver.account.last_activity_time
    moves = source.expiry_kind is ExpiryKind.INACTIVITY and not source.pending
    if moves and last is not None:
        mature_time = max(mature_time, last)
    return Lot(
        sequence=fold.account.sequence + 1,
        id=fold.new_id(),
        currency=source.currency,
        points=points,
        free=points,
        held=0,
        pending=source.pending,
        earn_time=source.earn_time,
        mature_time=mature_time,
        expire_time=source.expire_time,
        expiry_kind=source.expiry_kind,
        inactivity_months=source.inactivity_months,
        fresh=True,
        expiry_days=source.expiry_days,
        expiry_round=source.expiry_round,
    )

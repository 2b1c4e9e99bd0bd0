"""What time alone changes: pending lots mature, lots expire.

`settle` runs before every command and every read, so that the book is true at the instant whether
or not a job has run. At one instant lots mature first and then expire.
"""

from datetime import datetime

from services.ledger.domain import expiry
from services.ledger.domain.account import Kind, Lot, Posting
from services.ledger.domain.fold import Fold, four


def is_due(fold: Fold) -> bool:
    """Whether something may have fallen due; may be true too early, never too late."""
    due = fold.account.next_due_time
    return due is not None and due <= fold.now


def settle(fold: Fold) -> list[Posting]:
    """Post everything that fell due by now, one posting an instant, in order.

    All open lots of the account must be loaded.
    """
    postings: list[Posting] = []
    matured, expired = _due(fold)
    for instant in sorted({*matured, *expired}):
        posting = _posting(fold, instant)
        for lot in sorted(matured.get(instant, ()), key=lambda lot: lot.sequence):
            _mature(fold, lot)
        _expire(fold, expired.get(instant, []), instant)
        postings.append(posting)
    _wake(fold)
    return postings


def expire_fresh(fold: Fold, lot: Lot) -> None:
    """Expire a lot within the posting that made it, where it was dead before it was recorded."""
    instant = fold.expires(lot)
    if not lot.pending and instant <= fold.now:
        _expire(fold, [lot], instant)


def next_due(fold: Fold, lot: Lot) -> datetime:
    """When a lot matures or else expires; `FOREVER` where neither lies ahead."""
    if lot.pending:
        return lot.mature_time
    return fold.expires(lot) if lot.free else expiry.FOREVER


def _due(fold: Fold) -> tuple[dict[datetime, list[Lot]], dict[datetime, list[Lot]]]:
    matured: dict[datetime, list[Lot]] = {}
    expired: dict[datetime, list[Lot]] = {}
    for lot in fold.account.lots.values():
        if lot.pending:
            if lot.mature_time > fold.now:
                continue
            matured.setdefault(lot.mature_time, []).append(lot)
        if lot.free:
            instant = fold.expires(lot)
            if instant <= fold.now:
                expired.setdefault(instant, []).append(lot)
    return matured, expired


def _posting(fold: Fold, instant: datetime) -> Posting:
    posting = Posting(
        request_id=None,
        digest=None,
        version=fold.account.version,
        effective_time=instant,
        record_time=fold.now,
        revision=fold.policy.revision,
        actor="",
        reference="",
        first_entry=fold.account.sequence + 1,
        bucket=fold.account.bucket,
        member=fold.account.member,
    )
    fold.open_posting(posting)
    return posting


def _mature(fold: Fold, lot: Lot) -> None:
    balance = fold.balance(lot.currency)
    before = four(balance)
    lot.pending = False
    fold.account.changed_lots.add(lot.sequence)
    balance.pending -= lot.free
    balance.available += lot.free
    entry = fold.entry(Kind.MATURED, balance, lot.currency, before)
    entry.lot = lot.sequence
    _name(fold, lot)
    fold.seal(entry)


def _expire(fold: Fold, lots: list[Lot], instant: datetime) -> None:
    by_currency: dict[int, list[Lot]] = {}
    for lot in lots:
        by_currency.setdefault(lot.currency, []).append(lot)
    for currency in sorted(by_currency):
        balance = fold.balance(currency)
        before = four(balance)
        draws: list[tuple[int, int]] = []
        for lot in sorted(by_currency[currency], key=lambda lot: (lot.earn_time, lot.sequence)):
            points = lot.free
            fold.take(lot, points)
            balance.available -= points
            balance.expired += points
            draws.append((lot.sequence, points))
            _name(fold, lot)
        entry = fold.entry(Kind.EXPIRED, balance, currency, before, effective_time=instant)
        entry.draws = tuple(draws)
        fold.seal(entry)


def _name(fold: Fold, lot: Lot) -> None:
    assert fold.posting is not None
    fold.posting.lots[lot.sequence] = lot.id


def _wake(fold: Fold) -> None:
    account = fold.account
    due = min((next_due(fold, lot) for lot in account.lots.values()), default=expiry.FOREVER)
    account.next_due_time = None if due == expiry.FOREVER else due
    account.touched = True

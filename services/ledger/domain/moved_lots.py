"""Lots whose points came from another account, and what is known of such points besides.

Of a lot it is known how many of its points expired and how many repaid debt, what could not be
taken back of it (its claim), and what was taken in its place (`covered`). All of it decides what
returning a purchase takes and what may come back, so that it goes where such points come back to:
to the account that another one is merged into, in an entry of its own on either side. A lot of no
points keeps it there where no points came along.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.ledger.domain.account import AccountKey, Entry, Kind, Lot
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.fold import Fold, four


@dataclass(frozen=True, slots=True)
class Marks:
    """What is known of a lot besides the points that are in it."""

    claim: int = 0
    covered: int = 0
    repaid: int = 0
    expired: int = 0


NO_MARKS = Marks()


def all_marks(lot: Lot) -> Marks:
    """Everything that is known of a lot."""
    return Marks(lot.claim, lot.covered, lot.repaid, lot.expired)


def give_marks(fold: Fold, given: Iterable[tuple[Lot, Marks]], to: AccountKey) -> None:
    """Enter that what is known of lots, or a part of it, goes to another account."""
    for lot, marks in given:
        if marks == NO_MARKS:
            continue
        balance = fold.balance(lot.currency)
        entry = fold.entry(Kind.MOVED_OUT, balance, lot.currency, four(balance))
        entry.related, entry.counterpart = lot.sequence, to
        entry.unrecovered, entry.repaid = marks.claim or None, marks.repaid or None
        entry.expired = marks.expired or None
        entry.covers = ((lot.sequence, -marks.covered),) if marks.covered else ()
        fold.amend(
            lot,
            claim=lot.claim - marks.claim,
            covered=lot.covered - marks.covered,
            repaid=lot.repaid - marks.repaid,
        )
        if marks.expired:
            fold.gone(lot, -marks.expired)
        fold.seal(entry)


def anew(fold: Fold, source: Lot, points: int) -> Lot:
    """The lot of the next entry, for points of a lot of another account, with its dates."""
    return replace(
        source, sequence=fold.account.sequence + 1, id=fold.new_id(), points=points, free=points,
        held=0, expired=0, expired_change=0, repaid=0, claim=0, covered=0, noticed_time=None,
        posting=0, fresh=True,
    )  # fmt: skip


def mark(lot: Lot, entry: Entry, marks: Marks) -> None:
    """Have a new lot, and the entry that makes it, know what came along."""
    lot.claim, lot.covered = marks.claim, marks.covered
    lot.repaid, lot.expired = marks.repaid, marks.expired
    entry.unrecovered, entry.repaid = marks.claim or None, marks.repaid or None
    entry.expired = marks.expired or None
    entry.covers = ((lot.sequence, marks.covered),) if marks.covered else ()


def describe(fold: Fold, entry: Entry, lot: Lot) -> None:
    """Have an entry say all of a lot that it makes of points that were earned elsewhere."""
    entry.lot, entry.earn_time, entry.mature_time = lot.sequence, lot.earn_time, lot.mature_time
    if lot.expire_time is not None or lot.expiry_kind is ExpiryKind.INACTIVITY:
        entry.expire_time = fold.expires(lot)
    entry.expiry_kind, entry.inactivity_months = lot.expiry_kind, lot.inactivity_months
    entry.expiry_days, entry.expiry_round = lot.expiry_days, lot.expiry_round
    entry.origin = lot.origin
    fold.name(lot)

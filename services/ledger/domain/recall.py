"""Reversing an earning of which points are in other accounts: they are asked back first.

What of an earning a member brings into a group, and what goes along with whoever leaves it, is
taken back where it is, as if it had never moved: what is free of it, then what of it repaid debt or
expired. What was spent of it there and may still come back is claimed there.
"""

from collections.abc import Mapping, Sequence

from services.ledger.domain.account import AccountKey, AccountKind, Kind, Lot, Posting
from services.ledger.domain.commands import Command, Reverse
from services.ledger.domain.decide import opened
from services.ledger.domain.fold import Fold
from services.ledger.domain.moved_lots import NO_MARKS, Marks, give_marks
from services.ledger.domain.moves import (
    all_or_nothing,
    applied,
    give_away,
    receive,
    share_now,
    side_posting,
)
from services.ledger.domain.permissions import Addressed
from services.ledger.domain.reversals import parts_of, reverse

Root = tuple[int, int, int]
"""The lot that an earning made: bucket, account, sequence."""


Spent = Mapping[tuple[AccountKey, Root], int]
"""What redemptions and holds of an account may still give back to it, by account and root."""


def reverse_recalled(
    own: Fold, others: Sequence[Fold], command: Command, addressed: Addressed | None, spent: Spent
) -> list[tuple[Fold, Posting]]:
    """Reverse a posting while other accounts have points of it; all are settled.

    Refusals: those of any command and of `reverse`.
    """
    operation = command.operations[0]
    assert isinstance(operation, Reverse)
    share_now((own, *others))
    posting = opened(own, command, addressed)
    sides = [_side(own, other, posting) for other in others]
    earned = {entry.sequence: entry for entry in operation.entries if entry.kind is Kind.EARNED}
    with all_or_nothing((own, *others)):
        for entry, points in parts_of(own, operation, earned) if earned else ():
            _ask_back(own, others, (*operation.account, entry.sequence), points)
        reverse(own, operation)
        for entry in earned.values():
            root = (*operation.account, entry.sequence)
            for other in others:
                _claim_there(own, other, root, spent.get((other.account.key, root), 0))
    # Two postings name each other; where there are more, they name the command's own.
    posting.peer = next((side for side in sides if side.entries), None)
    return applied([(own, posting), *zip(others, sides, strict=True)])


def _side(own: Fold, other: Fold, posting: Posting) -> Posting:
    """The other account's posting: of a group, it says whose return it was."""
    in_group = other.account.kind is not AccountKind.PERSON
    person = in_group and own.account.kind is AccountKind.PERSON
    member = Addressed(own.account.key, own.account.member) if person else None
    side = side_posting(other, posting, member)
    posting.names[other.account.key] = other.account.member
    side.names[own.account.key] = own.account.member
    return side


def pieces(fold: Fold, root: Root) -> list[Lot]:
    """The lots of an account that have points of an earning, in the order in which they came."""
    found = [
        lot
        for lot in fold.account.lots.values()
        if root in (lot.origin, (*fold.account.key, lot.sequence))
    ]
    return sorted(found, key=lambda lot: lot.sequence)


def _ask_back(own: Fold, others: Sequence[Fold], root: Root, points: int) -> None:
    """Move back what there is of an earning, as far as the own account has too little of it."""
    here = pieces(own, root)
    there = [(other, lot) for other in others for lot in pieces(other, root)]
    missing = points
    taken: list[list[int]] = []
    for name in ("free", "repaid", "expired"):
        missing -= sum(getattr(lot, name) for lot in here)
        taken.append(_shared([getattr(lot, name) for _, lot in there], missing))
        missing -= sum(taken[-1])
    for (other, lot), free, repaid, expired in zip(there, *taken, strict=True):
        _move(other, own, lot, free, Marks(repaid=repaid, expired=expired))


def _shared(most: Sequence[int], missing: int) -> list[int]:
    """What of each is taken to make up for what is missing, the first ones first."""
    taken = []
    for each in most:
        taken.append(max(0, min(each, missing)))
        missing -= taken[-1]
    return taken


def _claim_there(own: Fold, other: Fold, root: Root, spent: int) -> None:
    """Move claims to where points may come back; `spent` is how many there."""
    lots = pieces(own, root)
    room = spent - sum(lot.claim for lot in pieces(other, root))
    for lot, claim in zip(lots, _shared([lot.claim for lot in lots], room), strict=True):
        _move(own, other, lot, 0, Marks(claim=claim))


def _move(giver: Fold, taker: Fold, lot: Lot, points: int, marks: Marks) -> None:
    """Move points of a lot, and what is known of it, to another account."""
    if not points and marks == NO_MARKS:
        return
    to, by = taker.account.key, giver.account.key
    draws = [(lot.sequence, points)] if points else []
    if draws:
        give_away(giver, Kind.MOVED_OUT, lot.currency, draws, to)
    give_marks(giver, [(lot, marks)], to)
    receive(taker, Kind.MOVED_IN, giver, draws, by, marks={lot.sequence: marks})

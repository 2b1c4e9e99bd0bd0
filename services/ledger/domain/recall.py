"""Reversing an earning whose points the member brought into a group: they are asked back first."""

from services.ledger.domain.account import AccountKey, Kind, Lot, Posting
from services.ledger.domain.commands import Command, Reverse
from services.ledger.domain.decide import opened
from services.ledger.domain.fold import Fold
from services.ledger.domain.membership import move_points
from services.ledger.domain.moves import all_or_nothing, applied, share_now, side_posting
from services.ledger.domain.permissions import Addressed
from services.ledger.domain.reversals import parts_of, reverse


def reverse_brought(
    own: Fold, group: Fold, command: Command, addressed: Addressed | None
) -> list[tuple[Fold, Posting]]:
    """Reverse a posting of the member's own account while a group has its points; both settled.

    Refusals: those of any command and of `reverse`.
    """
    operation = command.operations[0]
    assert isinstance(operation, Reverse)
    share_now((own, group))
    posting = opened(own, command, addressed)
    member = Addressed(own.account.key, own.account.member)
    given = side_posting(group, posting, member)
    posting.peer = given
    with all_or_nothing((own, group)):
        earned = {entry.sequence: entry for entry in operation.entries if entry.kind is Kind.EARNED}
        for entry, points in parts_of(own, operation, earned) if earned else ():
            if entry.currency is not None and entry.lot is not None:
                _ask_back(own, group, operation.account, entry.lot, entry.currency, points)
        reverse(own, operation)
    return applied([(own, posting), (group, given)])


def _ask_back(
    own: Fold, group: Fold, account: AccountKey, sequence: int, currency: int, points: int
) -> None:
    """Move back what the group has left of a lot, as far as the own account has too little."""
    origin = (*account, sequence)
    missing = points - sum(
        lot.free for lot in own.account.lots.values() if _is_of(own, lot, account, sequence)
    )
    draws = []
    for lot in sorted(group.account.lots.values(), key=lambda lot: lot.sequence):
        taken = min(lot.free, missing) if lot.origin == origin else 0
        if taken > 0:
            draws.append((lot.sequence, taken))
            missing -= taken
    move_points(group, own, currency, draws)


def _is_of(fold: Fold, lot: Lot, account: AccountKey, sequence: int) -> bool:
    here = account == fold.account.key and lot.sequence == sequence
    return here or lot.origin == (*account, sequence)

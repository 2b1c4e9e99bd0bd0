"""Freezing and unfreezing an account: entries of no points, so that history says when and why."""

from services.ledger.domain.account import Kind, State
from services.ledger.domain.commands import Freeze, Unfreeze
from services.ledger.domain.fold import Fold
from services.ledger.domain.refusals import MemberNotFrozen


def freeze(fold: Fold, operation: Freeze) -> None:
    """Freeze an account; that it is frozen already was refused before."""
    _state(fold, State.FROZEN, Kind.FROZEN, operation.reason)


def unfreeze(fold: Fold, operation: Unfreeze) -> None:
    """Unfreeze an account. Refuses with MEMBER_NOT_FROZEN."""
    if fold.account.state is not State.FROZEN:
        raise MemberNotFrozen(fold.account.member)
    _state(fold, State.OPEN, Kind.UNFROZEN, operation.reason)


def _state(fold: Fold, state: State, kind: Kind, reason: str) -> None:
    fold.set_state(state)
    entry = fold.entry(kind, None, None, (0, 0, 0, 0))
    entry.reason = reason
    fold.seal(entry)

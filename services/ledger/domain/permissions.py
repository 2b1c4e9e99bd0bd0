"""Whose command lands in an account of another member, and what it may do there."""

from dataclasses import dataclass

from services.ledger.domain.account import AccountKey
from services.ledger.domain.commands import (
    CreateHold,
    Operation,
    Redeem,
    RedeemAcross,
    TransferPoints,
)
from services.ledger.domain.groups import Permission
from services.ledger.domain.refusals import PermissionMissing


@dataclass(frozen=True, slots=True)
class Addressed:
    """A member whose commands land elsewhere: in the account merged into, or in a group's.

    `key` is the member's own account. `permissions` are those of the role in the group, or None
    where everything is allowed.
    """

    key: AccountKey
    member: str
    frozen: bool = False
    role: str = ""
    permissions: frozenset[Permission] | None = None


_NEEDED: dict[type, Permission] = {
    Redeem: Permission.REDEEM,
    CreateHold: Permission.REDEEM,
    RedeemAcross: Permission.REDEEM,
    TransferPoints: Permission.TRANSFER,
}


def allows(addressed: Addressed, operation: Operation) -> bool:
    """Whether the member's role allows an operation."""
    needed = _NEEDED.get(type(operation))
    return needed is None or addressed.permissions is None or needed in addressed.permissions


def check_permission(addressed: Addressed, operation: Operation) -> None:
    """Refuse with PERMISSION_MISSING what the member's role does not allow."""
    if not allows(addressed, operation):
        raise PermissionMissing(addressed.role, _NEEDED[type(operation)].name)

"""Groups and fleets: who may do what with the points of all, and what joining and leaving do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from services.ledger.domain.account import AccountKind


class Permission(IntEnum):
    """What a role in a group allows; the numbers of the contract."""

    REDEEM = 1
    TRANSFER = 2
    MANAGE = 3


class OnJoin(IntEnum):
    """What becomes of the points of a member that joins; the numbers of the contract."""

    BRING = 1
    LEAVE_BEHIND = 2


class OnLeave(IntEnum):
    """What becomes of points when a member leaves; the numbers of the contract."""

    FORFEIT_TO_GROUP = 1
    TAKE_SHARE = 2


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What holds in a group: permissions by role, in the order given; the last role is the default.

    With `pooling` what its members earn lands in the group's account.
    """

    roles: tuple[tuple[str, frozenset[Permission]], ...]
    pooling: bool = True
    on_join: OnJoin = OnJoin.BRING
    on_leave: OnLeave = OnLeave.FORFEIT_TO_GROUP

    def permissions(self, role: str) -> frozenset[Permission]:
        """What a role allows; nothing where the group has no such role any more."""
        return dict(self.roles).get(role, frozenset())

    def default_role(self) -> str:
        """The role of who joins without naming one."""
        return self.roles[-1][0]


_ALL = frozenset(Permission)
_NONE: frozenset[Permission] = frozenset()

DEFAULT_ROLES: Mapping[AccountKind, tuple[tuple[str, frozenset[Permission]], ...]] = {
    AccountKind.GROUP: (("owner", _ALL), ("member", _NONE)),
    AccountKind.FLEET: (("manager", _ALL), ("driver", _NONE), ("vehicle", _NONE)),
}
"""The roles of a group that names none."""

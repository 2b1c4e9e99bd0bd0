"""What callers ask of an account: operations, and the command that carries them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.ledger.domain.account import AccountKey, AccountKind, Entry, HoldState, Lot
from services.ledger.domain.counters import Window
from services.ledger.domain.groups import GroupRules, OnJoin, OnLeave
from services.ledger.domain.identifiers import Identifier


@dataclass(frozen=True, slots=True)
class Earn:
    """Give points. Empty names mean the defaults; `source` is kept as it is and never read.

    `bare_source` is the source without the value behind the points, kept where that is not to be.
    """

    points: int
    currency: str = ""
    expiry: str = ""
    mature_time: datetime | None = None
    source: bytes | None = None
    bare_source: bytes | None = None


@dataclass(frozen=True, slots=True)
class Redeem:
    """Spend points, first to expire first."""

    points: int
    currency: str = ""
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class Adjust:
    """Credit (positive) or debit (negative) points by an operator's decision."""

    points: int
    reason: str
    currency: str = ""
    allow_partial: bool = False
    expiry: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """Add to a counter on the local day of the effective time."""

    counter: str
    value: int


@dataclass(frozen=True, slots=True)
class Enrol:
    """Open the account."""

    identifiers: tuple[Identifier, ...] = ()
    billing_day: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """Points that a member brings; expiry by a strategy from the awarded time, or at an instant."""

    points: int
    currency: str = ""
    awarded_time: datetime | None = None
    expire_time: datetime | None = None
    expiry: str = ""


@dataclass(frozen=True, slots=True)
class Import:
    """Open the account, unless it is open, and credit what the member brings."""

    balances: tuple[Opening, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    billing_day: int = 0


@dataclass(frozen=True, slots=True)
class WriteOff:
    """Debit everything that is left, because the person is erased."""

    reason: str


@dataclass(frozen=True, slots=True)
class CreateHold:
    """Set points aside; by default for an hour."""

    points: int
    currency: str = ""
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaptureHold:
    """Redeem held points, by default all.

    `hold` is the sequence of its entry, `account` where that is, `id` the hold's UUID, `state` how
    it stood when it was looked for.
    """

    hold: int
    id: str
    account: AccountKey
    state: HoldState = HoldState.OPEN
    points: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """Give held points back; the hold is named as for capturing it."""

    hold: int
    id: str
    account: AccountKey
    state: HoldState = HoldState.OPEN


@dataclass(frozen=True, slots=True)
class ActivatePending:
    """Make pending points spendable: of a posting, of a lot, or all of a currency.

    `given` says which entries the posting has: its account, the first and the last sequence; None
    where there is no such posting.
    """

    currency: str = ""
    posting: str = ""
    given: tuple[AccountKey, int, int] | None = None
    lot: UUID | None = None


@dataclass(frozen=True, slots=True)
class Reverse:
    """Take back or give back what a posting did: all that is left, `points`, or parts of entries.

    `account` is where the posting is, `entries` are those of the posting, `lots` those of that
    account that they drew from.
    """

    posting: str
    account: AccountKey
    entries: tuple[Entry, ...]
    points: int = 0
    parts: tuple[tuple[int, int], ...] = ()
    by_operator: bool = True
    reason: str = ""
    lots: Mapping[int, Lot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Freeze:
    """Let no points move until it is unfrozen."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unfreeze:
    """Let points move again."""

    reason: str


@dataclass(frozen=True, slots=True)
class TransferPoints:
    """Give points to another member."""

    recipient: str
    points: int
    currency: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RedeemAcross:
    """Spend points of several programs; of all that allow it where none are named."""

    points: int
    programs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MergeMembers:
    """Merge the member into another one, in all programs."""

    into: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """Open an account that members share."""

    kind: AccountKind
    display_name: str
    rules: GroupRules


@dataclass(frozen=True, slots=True)
class AddGroupMember:
    """Let the member join a group; unset means the group's own rule."""

    group: str
    role: str = ""
    on_join: OnJoin | None = None


@dataclass(frozen=True, slots=True)
class RemoveGroupMember:
    """Let the member leave its group; unset means the group's own rule."""

    group: str
    on_leave: OnLeave | None = None


Operation = (
    Earn
    | Redeem
    | Adjust
    | Count
    | Enrol
    | Import
    | WriteOff
    | CreateHold
    | CaptureHold
    | ReleaseHold
    | ActivatePending
    | Reverse
    | Freeze
    | Unfreeze
    | TransferPoints
    | RedeemAcross
    | MergeMembers
    | CreateGroup
    | AddGroupMember
    | RemoveGroupMember
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A counter's value in a window as the caller read it."""

    name: str
    window: Window
    value: int


@dataclass(frozen=True, slots=True)
class Command:
    """One request of one member: all of its operations or none.

    `digest` is of the canonical request: equal digests are the same request. `indexed` is set for a
    request that lists its operations, so that a refusal names the one that refused. With a
    `logged_time` it lands where the member's commands landed then.
    """

    organization: str
    program: str
    member: str
    request_id: str
    digest: bytes
    operations: tuple[Operation, ...]
    effective_time: datetime | None = None
    reference: str = ""
    actor: str = ""
    expected_version: int | None = None
    expect: tuple[Expectation, ...] = ()
    indexed: bool = False
    logged_time: datetime | None = None

    def draws(self) -> int | None:
        """How many points it may draw, first to expire first; None where it needs all lots."""
        points = 0
        for operation in self.operations:
            if isinstance(operation, (WriteOff, TransferPoints, RedeemAcross)):
                return None
            if isinstance(operation, Redeem):
                points += operation.points
            elif isinstance(operation, Adjust) and operation.points < 0:
                points -= operation.points
        return points

    def rare(self) -> bool:
        """Whether it needs its account loaded whole; such an operation comes alone."""
        return type(self.operations[0]) in _RARE

    def may_enrol(self) -> bool:
        """Whether it begins with a gift, which opens an account where the program says so."""
        first = self.operations[0]
        return isinstance(first, (Earn, Count)) or (isinstance(first, Adjust) and first.points > 0)

    def enrols(self) -> bool:
        """Whether opening the account is what it asks for."""
        return isinstance(self.operations[0], (Enrol, Import, CreateGroup))

    def identifiers(self) -> tuple[Identifier, ...]:
        """What it says that its member is found by."""
        first = self.operations[0]
        return first.identifiers if isinstance(first, (Enrol, Import)) else ()

    def billing_day(self) -> int:
        """The billing day that it sets; 0 for none."""
        first = self.operations[0]
        return first.billing_day if isinstance(first, (Enrol, Import)) else 0

    def stays(self) -> bool:
        """Whether it is about the member's own account, though a group pools it."""
        return isinstance(self.operations[0], (Freeze, Unfreeze, WriteOff))

    def unlocks(self) -> bool:
        """Whether a frozen member may be given it: a person can always be erased, and unfrozen.

        Whoever is enrolled again is told that, frozen or not.
        """
        return isinstance(self.operations[0], (WriteOff, Unfreeze, Enrol))


_RARE = frozenset({CreateHold, CaptureHold, ReleaseHold, ActivatePending, Reverse})

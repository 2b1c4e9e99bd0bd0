"""An account as it is folded: balances, lots, counters, and the entries that change them.

These are working copies. An operation loads them under the account's lock, folds commands over
them, and saves what changed; nothing else sees them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from kernel.ids import uuid7
from services.ledger.domain.config import ExpiryKind


class State(IntEnum):
    """What may be done with an account; the numbers of the contract."""

    OPEN = 1
    FROZEN = 2
    # Nobody's any more: its person was erased. Never answered, because no member leads to it.
    ERASED = 3


class Kind(IntEnum):
    """What an entry does; the numbers of the contract."""

    ENROLLED = 1
    EARNED = 2
    REDEEMED = 3
    ADJUSTED_IN = 4
    ADJUSTED_OUT = 5
    MATURED = 6
    EXPIRED = 7
    COUNTED = 8
    HELD = 9
    CAPTURED = 10
    RELEASED = 11
    LAPSED = 12
    EARNING_REVERSED = 13
    REDEMPTION_RESTORED = 14
    COUNT_REVERSED = 15
    TRANSFERRED_OUT = 16
    TRANSFERRED_IN = 17
    DEBT_REPAID = 18
    FROZEN = 19
    UNFROZEN = 20
    EXPIRY_NOTICED = 21
    MOVED_OUT = 22
    MOVED_IN = 23
    LINKED = 24
    UNLINKED = 25


class HoldState(IntEnum):
    """How a hold stands; the numbers of the contract."""

    OPEN = 1
    CAPTURED = 2
    RELEASED = 3
    LAPSED = 4


class AccountKind(IntEnum):
    """Whose account it is; the numbers of the contract."""

    PERSON = 1
    GROUP = 2
    FLEET = 3


class Link(IntEnum):
    """Why an account's commands land in another one; GROUPED is a group that does not pool."""

    MERGED = 1
    POOLED = 2
    GROUPED = 3


GROUPED = (Link.POOLED, Link.GROUPED)


AccountKey = tuple[int, int]
"""(bucket, surrogate id)."""


class Limit(IntEnum):
    """Limits that truncate an earning, in the order in which they cut; the contract's numbers."""

    DAILY_CAP = 1
    MONTHLY_CAP = 2
    MAXIMUM_BALANCE = 3


@dataclass(slots=True)
class Balance:
    """A holding of one currency, and its running totals."""

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    earned: int = 0
    earning_reversed: int = 0
    redeemed: int = 0
    redemption_restored: int = 0
    expired: int = 0
    adjusted_in: int = 0
    adjusted_out: int = 0
    transferred_in: int = 0
    transferred_out: int = 0

    def net(self) -> int:
        """Everything that the member has, less what is owed."""
        return self.available + self.pending + self.held - self.debt

    def copy(self) -> "Balance":
        """The same numbers, apart."""
        return Balance(
            self.available,
            self.pending,
            self.held,
            self.debt,
            self.earned,
            self.earning_reversed,
            self.redeemed,
            self.redemption_restored,
            self.expired,
            self.adjusted_in,
            self.adjusted_out,
            self.transferred_in,
            self.transferred_out,
        )


@dataclass(slots=True)
class Lot:
    """Points earned together. `sequence` is that of the entry that made it.

    `expire_time` is None for points that never expire and for INACTIVITY, whose instant moves.
    """

    sequence: int
    id: UUID
    currency: int
    points: int
    free: int
    held: int
    pending: bool
    earn_time: datetime
    mature_time: datetime
    expire_time: datetime | None
    expiry_kind: ExpiryKind
    inactivity_months: int = 0
    posting: int = 0
    fresh: bool = False
    # Points of it that expired and that no reversal counted as gone yet, and that repaid debt.
    expired: int = 0
    repaid: int = 0
    # By how much `expired` changed since it was loaded.
    expired_change: int = 0
    # Points of a reversed earning that could not be taken: they are met first by what comes back.
    claim: int = 0
    # Points of other lots that were taken when its own earning was reversed: what comes back to it
    # in their place meets the claims of other lots.
    covered: int = 0
    # The instant of expiry that the member was told of.
    noticed_time: datetime | None = None
    # Of a lot that was made pending: what its expiry is found by when it matures early. `FIXED` has
    # its months in `inactivity_months`, `DATE` its day's ordinal in `expiry_days`.
    expiry_days: int | None = None
    expiry_round: int | None = None
    # The lot that it was moved from: bucket, account, sequence.
    origin: tuple[int, int, int] | None = None
    # Whether all of it was loaded, or only what is free, held and pending, and when it expires.
    whole: bool = False


@dataclass(slots=True)
class Hold:
    """Points set aside. `sequence` is of the entry HELD; `parts` are (lot, points) as drawn."""

    sequence: int
    currency: int
    points: int
    parts: tuple[tuple[int, int], ...]
    create_time: datetime
    expire_time: datetime
    state: HoldState = HoldState.OPEN
    captured: int = 0
    posting: int = 0
    fresh: bool = False


@dataclass(slots=True)
class Entry:
    """One immutable line. `lot` and the lots of `draws` are sequences; `currency` is a number."""

    sequence: int
    kind: Kind
    currency: int | None
    points: int
    change: tuple[int, int, int, int]
    after: tuple[int, int, int, int]
    requested: int
    effective_time: datetime
    record_time: datetime
    lot: int | None = None
    draws: tuple[tuple[int, int], ...] = ()
    forfeits: tuple[tuple[Limit, int], ...] = ()
    source: bytes | None = None
    counter: int | None = None
    counter_change: int | None = None
    reason: str | None = None
    mature_time: datetime | None = None
    expire_time: datetime | None = None
    expiry_kind: ExpiryKind | None = None
    inactivity_months: int | None = None
    digest: bytes = b""
    # The entry of this account that it refers to.
    related: int | None = None
    unrecovered: int | None = None
    expired: int | None = None
    counterpart: AccountKey | None = None
    expiry_days: int | None = None
    expiry_round: int | None = None
    # Of a lot that came from another account: since when it is the points' age.
    earn_time: datetime | None = None
    # Of such a lot: the lot that its points were earned in.
    origin: tuple[int, int, int] | None = None
    # What is known of the moved points' lot and goes along: how much of it repaid debt, and by how
    # much `covered` of lots changes. The claim on it is `unrecovered`.
    repaid: int | None = None
    covers: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Posting:
    """One atomic change of an account. Saving it gives `sequence`, its place in the stream."""

    request_id: str | None
    digest: bytes | None
    version: int
    effective_time: datetime
    record_time: datetime
    revision: int
    actor: str
    reference: str
    first_entry: int
    entries: list[Entry] = field(default_factory=list)
    sequence: int = 0
    # Lots that its entries name, by sequence, for the answer.
    lots: dict[int, UUID] = field(default_factory=dict)
    bucket: int = 0
    member: str = ""
    # The own account of the member addressed, where the posting landed in another one, and whose
    # account that is.
    addressee: AccountKey | None = None
    account_member: str = ""
    # Members that its entries name by their accounts, for the answer.
    names: dict[AccountKey, str] = field(default_factory=dict)
    # The hold that it made or closed, as it stands after it.
    hold: Hold | None = None
    # The posting of another account that belongs together with it; its place is known when saved.
    peer: "Posting | None" = None
    peer_place: tuple[int, int] | None = None
    peer_time: datetime | None = None

    def id(self) -> UUID | None:
        """The id that leads to its place in the stream; None for one that was only imagined."""
        if not self.sequence:
            return None
        return uuid7(self.record_time, self.bucket, self.sequence)

    def peer_id(self) -> UUID | None:
        """The id of the posting that belongs together with it."""
        if self.peer is not None:
            return self.peer.id()
        if self.peer_place is None or self.peer_time is None:
            return None
        return uuid7(self.peer_time, *self.peer_place)


@dataclass(slots=True)
class Account:
    """An account and as much of it as was loaded.

    `lots` holds the open lots by sequence, or those that debits may draw from and the fresh ones.
    `counters` holds the months that were loaded by (counter, month), `holds` the open holds and
    those named by commands, `reversed` how much of an entry was reversed, by (bucket, account,
    sequence) of the entry. `changed_*` name what to save.
    """

    bucket: int
    id: int
    program: int
    member: str
    enrol_time: datetime
    record_time: datetime
    state: State = State.OPEN
    sandbox: bool = False
    version: int = 0
    sequence: int = 0
    digest: bytes = b""
    last_activity_time: datetime | None = None
    next_due_time: datetime | None = None
    enrolled: bool = True
    balances: dict[int, Balance] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)
    counters: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    touched: bool = False
    changed_balances: set[int] = field(default_factory=set)
    changed_lots: set[int] = field(default_factory=set)
    changed_counters: set[tuple[int, int]] = field(default_factory=set)
    kind: AccountKind = AccountKind.PERSON
    billing_day: int | None = None
    link: Link | None = None
    link_to: AccountKey | None = None
    elsewhere: bool = False
    holds: dict[int, Hold] = field(default_factory=dict)
    reversed: dict[tuple[int, int, int], int] = field(default_factory=dict)
    changed_holds: set[int] = field(default_factory=set)
    changed_reversed: set[tuple[int, int, int]] = field(default_factory=set)
    # Lots of which more changed than what is free, held or pending.
    amended_lots: set[int] = field(default_factory=set)
    changed_state: bool = False
    # Whether its postings, entries or new lots say more than the columns that are always written.
    rare: bool = False

    def lands_in(self) -> AccountKey | None:
        """The account where its member's commands land, if it is another one."""
        return None if self.link is Link.GROUPED else self.link_to

    @property
    def key(self) -> AccountKey:
        """Which account it is."""
        return self.bucket, self.id

    def balance(self, currency: int) -> Balance:
        """The holding of a currency, made empty where there is none."""
        balance = self.balances.get(currency)
        if balance is None:
            balance = self.balances[currency] = Balance()
        return balance

    def month(self, counter: int, month: int) -> list[int]:
        """The days of a counter's month, made empty where there is none."""
        days = self.counters.get((counter, month))
        if days is None:
            days = self.counters[counter, month] = [0] * 31
        return days

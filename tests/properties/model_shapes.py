"""What the reference model is spoken to with, and what it keeps: plain values.

Points are exact ints, instants aware datetimes in UTC, money `Decimal`.
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo


class Refused(Exception):
    """The model says no, for `reason` and with at least the `metadata` given."""

    def __init__(self, reason: str, **metadata: object) -> None:
        super().__init__(f"{reason} {metadata or ''}".rstrip())
        self.reason = reason
        self.metadata = {key: str(value) for key, value in metadata.items()}


@dataclass(frozen=True)
class Strategy:
    """An expiry strategy: NONE, FIXED, INACTIVITY or DATE."""

    name: str
    kind: str
    days: int = 0
    months: int = 0
    round_to: str = ""
    day: date | None = None


@dataclass(frozen=True)
class Limits:
    """Caps of one currency; None for none."""

    daily_cap: int | None = None
    monthly_cap: int | None = None
    maximum_balance: int | None = None


@dataclass(frozen=True)
class Settings:
    """What a program is configured to do."""

    zone: ZoneInfo
    strategies: tuple[Strategy, ...]
    currencies: tuple[str, ...] = ("points",)
    counters: tuple[str, ...] = ()
    default_expiry: str = ""
    limits: Limits = Limits()
    overrides: tuple[tuple[str, Limits], ...] = ()
    currency_expiry: tuple[tuple[str, str], ...] = ()
    auto_enrol: bool = True
    start: datetime | None = None
    end: datetime | None = None
    redeem_until: datetime | None = None
    minimum_balance: int = 0
    step: int = 1
    rate: str = ""
    money: str = "USD"
    pending_conversion: bool = False
    notice_days: int = 0
    billing_month: bool = False
    returns_policy: str = "WITHIN_BALANCE"
    debt_floor: int | None = None
    redemption_reversal: bool = True
    grace_days: int = 0
    transfer_enabled: bool = True
    transfer_minimum: int = 1
    transfer_maximum: int | None = None
    transfer_count: int | None = None
    transfer_points: int | None = None
    transfer_age_days: int = 0


@dataclass(frozen=True)
class Earn:
    """Give points."""

    points: int
    currency: str = ""
    expiry: str = ""
    mature_time: datetime | None = None


@dataclass(frozen=True)
class Redeem:
    """Spend points."""

    points: int
    currency: str = ""
    allow_partial: bool = False


@dataclass(frozen=True)
class Adjust:
    """Credit or debit points."""

    points: int
    currency: str = ""
    reason: str = "because"
    allow_partial: bool = False
    expiry: str = ""


@dataclass(frozen=True)
class Count:
    """Add to a counter."""

    counter: str
    value: int


@dataclass(frozen=True)
class CreateHold:
    """Set points aside; the command's request id names the hold afterwards."""

    points: int
    currency: str = ""
    expire_time: datetime | None = None


@dataclass(frozen=True)
class CaptureHold:
    """Redeem points of the hold that was made under a request id; 0 for all of them."""

    hold: str
    points: int = 0


@dataclass(frozen=True)
class ReleaseHold:
    """Give the points of a hold back."""

    hold: str


@dataclass(frozen=True)
class ActivatePending:
    """Make pending points spendable: what a posting gave, or one lot, or all of a currency."""

    currency: str = ""
    posting: str = ""
    lot: int = 0


@dataclass(frozen=True)
class ReversePosting:
    """Reverse what was posted under a request id: all, some points, or parts (entry, points)."""

    posting: str
    points: int = 0
    parts: tuple[tuple[int, int], ...] = ()
    cause: str = "CAUSE_UNSPECIFIED"
    reason: str = ""


@dataclass(frozen=True)
class FreezeMember:
    """Let nothing move but time."""

    reason: str


@dataclass(frozen=True)
class UnfreezeMember:
    """Let points move again."""

    reason: str


@dataclass(frozen=True)
class TransferPoints:
    """Give points to another member."""

    recipient: str
    points: int
    currency: str = ""
    reason: str = ""


# What a post may consist of, and what is only ever a request of its own.
Op = Earn | Redeem | Adjust | Count
Lone = (
    CreateHold
    | CaptureHold
    | ReleaseHold
    | ActivatePending
    | ReversePosting
    | FreezeMember
    | UnfreezeMember
    | TransferPoints
)


@dataclass(frozen=True)
class Window:
    """Which days of a counter to sum; `time` None for the program's now."""

    counter: str
    period: str
    length: int = 0
    time: datetime | None = None


@dataclass(frozen=True)
class Command:
    """A request: one operation (`single`, by its own method), several, or none for an enrolment."""

    member: str
    request_id: str
    ops: tuple[Op | Lone, ...]
    single: bool = False
    effective_time: datetime | None = None
    expected_version: int | None = None
    expect: tuple[tuple[Window, int], ...] = ()
    validate_only: bool = False
    reference: str = ""
    # Of an enrolment.
    billing_day: int = 0

    def canonical(self) -> "Command":
        """What decides whether two requests are the same."""
        return replace(self, request_id="", expected_version=None, expect=(), validate_only=False)


@dataclass
class Lot:
    """Points earned together; known by the sequence of the entry that made it."""

    sequence: int
    currency: str
    points: int
    free: int
    pending: bool
    earn_time: datetime
    mature_time: datetime
    strategy: Strategy
    held: int = 0
    # What it repaid of debt, and what was reversed of that again.
    repaid: int = 0
    # What expired of it and has not been reported by a reversal yet.
    expired: int = 0
    # What a reversal could not take: points that come back meet it first.
    claim: int = 0
    covered: int = 0
    # Where it came with a fixed expiry, or was given a time of grace.
    set_expiry: datetime | None = None
    graced: bool = False
    # The expiry that the member was told of.
    noticed: datetime | None = None


@dataclass
class Entry:
    """One line of history. Lots are named by the sequence of the entry that made them."""

    sequence: int
    kind: str
    effective_time: datetime
    request_id: str
    currency: str = ""
    points: int = 0
    available_change: int = 0
    pending_change: int = 0
    held_change: int = 0
    debt_change: int = 0
    available_after: int = 0
    pending_after: int = 0
    held_after: int = 0
    debt_after: int = 0
    lot: int = 0
    draws: tuple[tuple[int, int], ...] = ()
    requested: int = 0
    forfeits: tuple[tuple[str, int], ...] = ()
    counter: str = ""
    counter_change: int = 0
    reason: str = ""
    reference: str = ""
    mature_time: datetime | None = None
    expire_time: datetime | None = None
    related: int = 0
    unrecovered: int = 0
    expired: int = 0
    counterpart: str = ""


@dataclass
class Hold:
    """Points set aside; known by the request that made it, drawn from lots in `draws`."""

    request_id: str
    sequence: int
    currency: str
    points: int
    create_time: datetime
    expire_time: datetime
    draws: tuple[tuple[int, int], ...]
    state: str = "OPEN"
    captured: int = 0


@dataclass
class Account:
    """All that is known of one member."""

    member: str
    enrol_time: datetime
    lots: list[Lot] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    version: int = 0
    frozen: bool = False
    last_activity: datetime | None = None
    billing_day: int = 0
    # How much of an entry was reversed, met or not, by its sequence.
    reversed: dict[int, int] = field(default_factory=dict)
    seen: dict[str, tuple[Command, "Answer"]] = field(default_factory=dict)

    def copy(self) -> "Account":
        """One to try something on. Entries and answers never change and are shared."""
        return replace(
            self,
            lots=[replace(lot) for lot in self.lots],
            entries=list(self.entries),
            holds=[replace(hold) for hold in self.holds],
            reversed=dict(self.reversed),
            seen=dict(self.seen),
        )


@dataclass(frozen=True)
class Reversal:
    """What a reversal came to."""

    reversed: int = 0
    unrecovered: int = 0
    expired: int = 0


@dataclass(frozen=True)
class Answer:
    """What a command did: its own entries (no settlements), the version after it, the value."""

    entries: tuple[Entry, ...]
    version: int
    effective_time: datetime
    value: Decimal | None
    replayed: bool = False
    reversal: Reversal | None = None
    # Of a transfer: what was recorded of the recipient.
    received: tuple[Entry, ...] = ()

"""A member's profile, and how it follows the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto


class Kind(Enum):
    """What a line of a posting does, as far as profiles care."""

    ENROLLED = auto()
    EARNED = auto()
    REDEEMED = auto()
    EARNING_REVERSED = auto()
    OTHER = auto()


# What counts as activity: an earning or a redemption, by the member's own doing.
_ACTIVITY = frozenset({Kind.EARNED, Kind.REDEEMED})


@dataclass(frozen=True, slots=True)
class Holding:
    """What a member has of one currency, in its smallest unit.

    `balance` is available + pending + held − debt; `earned` is lifetime points gross, and `net`
    the same less what reversals took back.
    """

    available: int = 0
    balance: int = 0
    earned: int = 0
    net: int = 0


NOTHING = Holding()


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the ledger. `currency` is empty for kinds without points."""

    sequence: int
    kind: Kind
    currency: str
    points: int
    available: int
    balance: int
    effective_time: datetime


@dataclass(frozen=True, slots=True)
class Posting:
    """One posting of the ledger: what it did to an account, in order."""

    organization: str
    program: str
    member: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a member. `sequence` is the last entry applied; `tier` may be empty.

    A member of whom nothing was heard yet has nothing: no points and no tier.
    """

    sequence: int = 0
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    tier: str = ""
    last_activity_time: datetime | None = None
    enrol_time: datetime | None = None

    def holding(self, currency: str) -> Holding:
        """What the member has of a currency; nothing where it was never touched."""
        return self.holdings.get(currency, NOTHING)


class EntriesMissing(Exception):
    """The ledger's stream left out entries of an account: nothing may be built on that."""


def apply_posting(profile: Profile, posting: Posting) -> Profile:
    """The profile after a posting. Entries that it has already count once.

    Raises EntriesMissing where the posting does not follow the entries applied so far.
    """
    if _begins_anew(profile, posting.lines):
        profile = Profile()
    lines = [line for line in posting.lines if line.sequence > profile.sequence]
    if not lines:
        return profile
    if lines[0].sequence != profile.sequence + 1:
        raise EntriesMissing(
            f"entry {lines[0].sequence} of a member of {posting.program!r} came after "
            f"{profile.sequence}"
        )
    holdings = dict(profile.holdings)
    last_activity, enrolled = profile.last_activity_time, profile.enrol_time
    for line in lines:
        if line.kind is Kind.ENROLLED:
            enrolled = line.effective_time
        if line.kind in _ACTIVITY:
            last_activity = max(last_activity or line.effective_time, line.effective_time)
        if line.currency:
            before = holdings.get(line.currency, NOTHING)
            gained = line.points if line.kind is Kind.EARNED else 0
            lost = -line.points if line.kind is Kind.EARNING_REVERSED else 0
            holdings[line.currency] = Holding(
                line.available, line.balance, before.earned + gained, before.net + gained - lost
            )
    return Profile(lines[-1].sequence, holdings, profile.tier, last_activity, enrolled)


def _begins_anew(profile: Profile, lines: Sequence[Line]) -> bool:
    """Whether a history begins that is not the profile's: the id was erased and enrolled again."""
    first = lines[0]
    return (
        first.sequence == 1
        and profile.sequence > 0
        and first.kind is Kind.ENROLLED
        and first.effective_time != profile.enrol_time
    )

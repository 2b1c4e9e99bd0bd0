"""What a program is configured to do: an immutable snapshot, one a revision.

Points are in the currency's smallest unit. Instants are aware datetimes in UTC. A currency and a
counter are known inside the ledger by their place in the snapshot (from 0), which never changes.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any

POINTS_MAX = 10**15


class ExpiryKind(IntEnum):
    """How the instant of expiry is found; the numbers of the contract."""

    NONE = 1
    FIXED = 2
    INACTIVITY = 3
    DATE = 4


class RoundTo(IntEnum):
    """To the end of which local period a fixed expiry is rounded; the numbers of the contract."""

    EXACT = 0
    DAY = 1
    MONTH = 2
    QUARTER = 3
    YEAR = 4


class ReturnsPolicy(IntEnum):
    """Where a return takes points that the earning's own lots no longer have."""

    WITHIN_BALANCE = 1
    OWN_LOTS_ONLY = 2
    ALLOW_DEBT = 3


class LimitsPeriod(IntEnum):
    """Which months monthly limits are counted in."""

    CALENDAR_MONTH = 1
    BILLING_MONTH = 2


class AcrossPrograms(IntEnum):
    """How a redemption draws on several programs of the organization."""

    OFF = 1
    FIRST_TO_EXPIRE = 2
    PROPORTIONAL = 3


@dataclass(frozen=True, slots=True)
class Expiry:
    """A named policy of expiry.

    `days` or `months` belong to FIXED, `months` to INACTIVITY, `date` to DATE.
    """

    strategy: str
    kind: ExpiryKind
    days: int = 0
    months: int = 0
    round_to: RoundTo = RoundTo.EXACT
    date: dt.date | None = None


NEVER = Expiry("never", ExpiryKind.NONE)


@dataclass(frozen=True, slots=True)
class CurrencyConfig:
    """A kind of points. Unset limits are the program's; an empty `expiry` is its default one."""

    id: str
    display_name: str = ""
    scale: int = 0
    maximum_balance: int | None = None
    daily_cap: int | None = None
    monthly_cap: int | None = None
    expiry: str = ""


@dataclass(frozen=True, slots=True)
class CounterConfig:
    """A number that counts and cannot be spent."""

    id: str
    unit: str = ""
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class ProgramConfig:
    """One revision of a program's configuration. The first currency is the default one.

    `others` are the settings that only other services act on: path and plain value, by path, but
    for those at their defaults (`domain/program_settings.py` knows them).
    """

    currencies: tuple[CurrencyConfig, ...]
    counters: tuple[CounterConfig, ...] = ()
    time_zone: str = "UTC"
    currency_code: str = "USD"
    auto_enrol: bool = False
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    maximum_balance: int | None = None
    daily_cap: int | None = None
    monthly_cap: int | None = None
    expiry: tuple[Expiry, ...] = (NEVER,)
    default_expiry: str = ""
    minimum_balance: int = 0
    step: int = 1
    conversion_rate: Decimal | None = None
    until: dt.datetime | None = None
    pending_conversion: bool = False
    expiry_notice_days: int = 0
    # The fewest months of a strategy by inactivity that the program had once: lots still have it.
    idle_months: int | None = None
    capture_source_value: bool = True
    alternate_currencies: bool = False
    limits_period: LimitsPeriod = LimitsPeriod.CALENDAR_MONTH
    returns_policy: ReturnsPolicy = ReturnsPolicy.WITHIN_BALANCE
    debt_floor: int | None = None
    redemption_reversal: bool = False
    reversal_grace_days: int = 0
    across_programs: AcrossPrograms = AcrossPrograms.OFF
    redemption_account: str = ""
    redemption_cost_center: str = ""
    transfer_enabled: bool = False
    transfer_minimum: int = 1
    transfer_maximum: int | None = None
    transfer_monthly_count: int | None = None
    transfer_monthly_points: int | None = None
    transfer_minimum_age_days: int = 0
    groups_enabled: bool = False
    fleets_enabled: bool = False
    others: tuple[tuple[str, Any], ...] = ()

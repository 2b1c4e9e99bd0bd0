"""What a program is configured to do: an immutable snapshot, one a revision.

Points are in the currency's smallest unit. Instants are aware datetimes in UTC. A currency and a
counter are known inside the ledger by their place in the snapshot (from 0), which never changes.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

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
    """One revision of a program's configuration. The first currency is the default one."""

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

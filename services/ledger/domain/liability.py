"""What a program owes its members, and how much of it will probably never be redeemed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal

_SIX = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Vintage:
    """Points that were earned in one month and can expire; `open` where some are left."""

    month: date
    earned: int
    expired: int
    open: bool


@dataclass(frozen=True, slots=True)
class Breakage:
    """An estimate and its basis: months of which nothing is left."""

    rate: Decimal | None
    earned: int
    expired: int
    months: int
    first: date | None
    last: date | None
    outstanding: int
    estimated: int


def breakage(vintages: Iterable[Vintage], this_month: date, outstanding: int) -> Breakage:
    """How much of the outstanding points that can expire will, as it was with closed months.

    A month counts when it is over and nothing of it is left. Without any, nothing is estimated.
    """
    closed = [each for each in vintages if not each.open and each.month < this_month]
    earned = sum(each.earned for each in closed)
    expired = sum(each.expired for each in closed)
    rate = None
    if earned:
        rate = (Decimal(expired) / Decimal(earned)).quantize(_SIX, rounding=ROUND_DOWN)
    return Breakage(
        rate=rate,
        earned=earned,
        expired=expired,
        months=len(closed),
        first=min((each.month for each in closed), default=None),
        last=max((each.month for each in closed), default=None),
        outstanding=outstanding,
        estimated=outstanding * expired // earned if earned else 0,
    )

"""Money: decimals and ISO 4217 codes. Not every currency has two decimals."""

from decimal import ROUND_DOWN, Decimal
from functools import lru_cache

from babel.numbers import get_currency_precision, list_currencies


@lru_cache(maxsize=512)
def exponent(code: str) -> int:
    """How many decimals a currency's smallest unit stands for: 2 for USD, 0 for JPY, 3 for KWD."""
    return get_currency_precision(code)


@lru_cache(maxsize=1)
def currency_codes() -> frozenset[str]:
    """All ISO 4217 codes that are known."""
    return frozenset(list_currencies())


def rounded_down(amount: Decimal, code: str) -> Decimal:
    """The amount in whole smallest units of its currency, rounded towards zero."""
    return amount.quantize(Decimal(1).scaleb(-exponent(code)), rounding=ROUND_DOWN)

"""A program's configuration, compiled once a revision: names looked up, defaults filled in."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

from kernel.refusals import CurrencyNotFound, ExpiryStrategyNotFound
from services.ledger.domain.config import CurrencyConfig, Expiry, ExpiryKind, ProgramConfig
from services.ledger.domain.counters import TRANSFERRED, TRANSFERS


@dataclass(frozen=True, slots=True)
class CurrencyPolicy:
    """What holds for one currency. Limits are points; None is no limit."""

    number: int
    id: str
    scale: int
    maximum_balance: int | None
    daily_cap: int | None
    monthly_cap: int | None
    expiry: Expiry


@dataclass(frozen=True)
class Policy:
    """What a program does, in one revision."""

    revision: int
    config: ProgramConfig

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone of local days, months and years."""
        return ZoneInfo(self.config.time_zone)

    @cached_property
    def strategies(self) -> dict[str, Expiry]:
        """The expiry strategies by name."""
        return {expiry.strategy: expiry for expiry in self.config.expiry}

    @cached_property
    def currencies(self) -> tuple[CurrencyPolicy, ...]:
        """The currencies by number."""
        return tuple(self._compile(n, c) for n, c in enumerate(self.config.currencies))

    @cached_property
    def currency_numbers(self) -> dict[str, int]:
        """The currencies' numbers by id; the empty id is the default currency."""
        numbers = {currency.id: n for n, currency in enumerate(self.config.currencies)}
        return {**numbers, "": 0}

    @cached_property
    def counter_numbers(self) -> dict[str, int]:
        """The counters' numbers by id, with `points_earned` and `points_earned:<currency>`."""
        numbers = {counter.id: n for n, counter in enumerate(self.config.counters)}
        for currency in self.currencies:
            numbers[f"points_earned:{currency.id}"] = -1 - currency.number
        numbers["points_earned"] = -1
        return numbers

    def counter_name(self, number: int) -> str:
        """The name of a counter, also of those that the ledger keeps by itself."""
        if number >= 0:
            return self.config.counters[number].id
        if number == TRANSFERS:
            return "transfers"
        kind, last = ("points_earned", -1) if number > TRANSFERS else ("transferred", TRANSFERRED)
        return f"{kind}:{self.currencies[last - number].id}"

    def currency(self, name: str) -> CurrencyPolicy:
        """The currency of that id, or the default one; refuses with CURRENCY_NOT_FOUND."""
        number = self.currency_numbers.get(name)
        if number is None:
            raise CurrencyNotFound(name)
        return self.currencies[number]

    def expiry(self, name: str, currency: CurrencyPolicy) -> Expiry:
        """The strategy of that name, or the currency's; refuses with EXPIRY_STRATEGY_NOT_FOUND."""
        if not name:
            return currency.expiry
        strategy = self.strategies.get(name)
        if strategy is None:
            raise ExpiryStrategyNotFound(name)
        return strategy

    def earning_open(self, instant: datetime) -> bool:
        """Whether points are earned at an instant: from the program's start and before its end."""
        start, end = self.config.start, self.config.end
        return (start is None or instant >= start) and (end is None or instant < end)

    @cached_property
    def shortest_inactivity(self) -> int | None:
        """The fewest months of inactivity after which points may expire; None for none."""
        months = [one.months for one in self.config.expiry if one.kind is ExpiryKind.INACTIVITY]
        if self.config.idle_months is not None:
            months.append(self.config.idle_months)
        return min(months, default=None)

    @property
    def conversion_rate(self) -> Decimal | None:
        """Money for one point, in the program's money currency."""
        return self.config.conversion_rate

    def _compile(self, number: int, currency: CurrencyConfig) -> CurrencyPolicy:
        config = self.config

        def first(own: int | None, shared: int | None) -> int | None:
            return shared if own is None else own

        name = currency.expiry or config.default_expiry or config.expiry[0].strategy
        return CurrencyPolicy(
            number=number,
            id=currency.id,
            scale=currency.scale,
            maximum_balance=first(currency.maximum_balance, config.maximum_balance),
            daily_cap=first(currency.daily_cap, config.daily_cap),
            monthly_cap=first(currency.monthly_cap, config.monthly_cap),
            expiry=self.strategies[name],
        )

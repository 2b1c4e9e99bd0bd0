"""What the reference model knows of accounts: lots, their expiry, settling, and all that is read.

Nothing is cached: balances are summed over lots, totals and counters over entries.
"""

from datetime import date, datetime, timedelta

from tests.properties.model_shapes import (
    Account,
    Entry,
    Limits,
    Lot,
    Refused,
    Settings,
    Strategy,
    Window,
)
from tests.properties.model_time import (
    MICROSECOND,
    days_after,
    end_of,
    first_instant,
    local_day,
    months_after,
    window_days,
)

LIMIT = 10**15


class Book:
    """The accounts of a sandbox program whose clock only `advance` moves."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.settings = settings
        self.now = now
        self.accounts: dict[str, Account] = {}

    def _strategy(self, asked: str, currency: str) -> Strategy:
        by_currency = dict(self.settings.currency_expiry).get(currency, "")
        default = self.settings.default_expiry or self.settings.strategies[0].name
        name = asked or by_currency or default
        for strategy in self.settings.strategies:
            if strategy.name == name:
                return strategy
        raise Refused("EXPIRY_STRATEGY_NOT_FOUND", strategy=name)

    def expire_time(self, account: Account, lot: Lot) -> datetime | None:
        """From which instant the lot is not spendable any more, as known now."""
        strategy, zone = lot.strategy, self.settings.zone
        if lot.set_expiry is not None:
            return lot.set_expiry
        if strategy.kind == "NONE":
            return None
        if strategy.kind == "DATE":
            assert strategy.day is not None
            # Points that mature after the date are dead as they mature, never before.
            return max(first_instant(strategy.day + timedelta(days=1), zone), lot.mature_time)
        if strategy.kind == "INACTIVITY":
            anchor = max(account.last_activity or lot.mature_time, lot.mature_time)
            return months_after(anchor, strategy.months, zone)
        if strategy.days:
            expires = days_after(lot.mature_time, strategy.days, zone)
        else:
            expires = months_after(lot.mature_time, strategy.months, zone)
        return end_of(strategy.round_to, expires, zone) if strategy.round_to else expires

    def _enter(
        self,
        account: Account,
        entry: Entry,
        *,
        available: int = 0,
        pending: int = 0,
        held: int = 0,
        debt: int = 0,
    ) -> None:
        """Adds an entry whose effect on lots was already made; debt is kept by entries alone."""
        entry.sequence = len(account.entries) + 1
        entry.available_change, entry.pending_change = available, pending
        entry.held_change, entry.debt_change = held, debt
        account.entries.append(entry)
        entry.available_after = self.available(account, entry.currency)
        entry.pending_after = self.pending(account, entry.currency)
        entry.held_after = self.held(account, entry.currency)
        entry.debt_after = self.debt(account, entry.currency)
        assert entry.points == available + pending + held - debt, entry
        assert min(entry.available_after, entry.pending_after, entry.held_after) >= 0, entry
        assert entry.debt_after >= 0, entry

    # Reading

    def find(self, member: str) -> Account:
        """The member's account, or `Refused`."""
        if member not in self.accounts:
            raise Refused("MEMBER_NOT_FOUND", member=member)
        return self.accounts[member]

    def limits(self, currency: str) -> Limits:
        """The caps that hold for a currency: its own where set, else the program's."""
        own, general = dict(self.settings.overrides).get(currency, Limits()), self.settings.limits
        return Limits(
            general.daily_cap if own.daily_cap is None else own.daily_cap,
            general.monthly_cap if own.monthly_cap is None else own.monthly_cap,
            general.maximum_balance if own.maximum_balance is None else own.maximum_balance,
        )

    def available(self, account: Account, currency: str) -> int:
        """Points that have matured and are neither spent nor expired."""
        lots = [lot for lot in account.lots if lot.currency == currency]
        return sum(lot.free for lot in lots if not lot.pending)

    def pending(self, account: Account, currency: str) -> int:
        """Points earned and not yet matured."""
        lots = [lot for lot in account.lots if lot.currency == currency]
        return sum(lot.free for lot in lots if lot.pending)

    def held(self, account: Account, currency: str) -> int:
        """Points that holds set aside."""
        return sum(lot.held for lot in account.lots if lot.currency == currency)

    def debt(self, account: Account, currency: str) -> int:
        """Points owed: what entries say, and nothing else."""
        return sum(entry.debt_change for entry in account.entries if entry.currency == currency)

    def balance(self, account: Account, currency: str) -> int:
        """All that the member has, less what is owed."""
        lots = [lot for lot in account.lots if lot.currency == currency]
        return sum(lot.free + lot.held for lot in lots) - self.debt(account, currency)

    def total(self, account: Account, currency: str, *kinds: str) -> int:
        """All points ever moved by entries of some kinds, without sign."""
        return sum(
            abs(entry.points)
            for entry in account.entries
            if entry.currency == currency and entry.kind in kinds
        )

    def lot(self, account: Account, sequence: int) -> Lot:
        """The lot that the entry of this sequence made."""
        (found,) = [lot for lot in account.lots if lot.sequence == sequence]
        return found

    def currencies(self, account: Account) -> list[str]:
        """The default currency and every one that an entry names, by id."""
        named = {entry.currency for entry in account.entries if entry.currency}
        return sorted(named | {self.settings.currencies[0]})

    def counter(self, account: Account, window: Window) -> int:
        """The sum of a counter over the local days of a window."""
        zone = self.settings.zone
        day = local_day(window.time or self.now, zone)
        first, last = window_days(window.period, window.length, day)
        return self._sum_of_days(account, window.counter, first, last)

    def _sum_of_days(self, account: Account, counter: str, first: date, last: date) -> int:
        name, _, currency = counter.partition(":")
        entries = [entry for entry in account.entries if first <= self._day(account, entry) <= last]
        if name == "points_earned":
            currency = currency or self.settings.currencies[0]
            if currency not in self.settings.currencies:
                raise Refused("CURRENCY_NOT_FOUND", currency=currency)
            earned = [entry for entry in entries if entry.kind in {"EARNED", "EARNING_REVERSED"}]
            return sum(entry.points for entry in earned if entry.currency == currency)
        if counter not in self.settings.counters:
            raise Refused("COUNTER_NOT_FOUND", counter=counter)
        return sum(entry.counter_change for entry in entries if entry.counter == name)

    def _day(self, account: Account, entry: Entry) -> date:
        """The local day that an entry counts on: a reversal on the day of what it reverses."""
        if entry.kind in {"EARNING_REVERSED", "COUNT_REVERSED"}:
            entry = account.entries[entry.related - 1]
        return local_day(entry.effective_time, self.settings.zone)

    def expirations(
        self, account: Account, currency: str = ""
    ) -> list[tuple[date, str, datetime, int]]:
        """Points at stake by the last local day on which they can be spent, soonest first."""
        groups: dict[tuple[date, str], list[tuple[datetime, int]]] = {}
        for lot in account.lots:
            expires = self.expire_time(account, lot)
            if lot.free and expires is not None and currency in ("", lot.currency):
                day = local_day(expires - MICROSECOND, self.settings.zone)
                groups.setdefault((day, lot.currency), []).append((expires, lot.free))
        return [
            (day, name, min(time for time, _ in group), sum(points for _, points in group))
            for (day, name), group in sorted(groups.items())
        ]

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

    # Lots

    def _make_lot(
        self, account: Account, entry: Entry, strategy: Strategy, mature: datetime | None
    ) -> None:
        earned = entry.effective_time
        mature = max(mature or earned, earned)
        lot = Lot(
            0,
            entry.currency,
            entry.points,
            entry.points,
            mature > self.now,
            earned,
            mature,
            strategy,
        )
        if self.total(account, entry.currency, entry.kind) + entry.points > LIMIT:
            raise Refused("POINTS_OVERFLOW", limit=LIMIT)
        balance = self.available(account, entry.currency) + self.pending(account, entry.currency)
        if balance + entry.points > LIMIT:
            raise Refused("POINTS_OVERFLOW", limit=LIMIT)
        if entry.points == 0:
            self._enter(account, entry)
            return
        account.lots.append(lot)
        lot.sequence = entry.lot = len(account.entries) + 1
        entry.mature_time, entry.expire_time = mature, self.expire_time(account, lot)
        self._enter(account, entry, *((0, entry.points) if lot.pending else (entry.points, 0)))
        expires = self.expire_time(account, lot)
        if expires is not None and expires <= self.now:
            # Dead before it was recorded: earned and expired in one posting.
            self._expire_lots(account, [lot], Entry(0, "EXPIRED", expires, entry.request_id))

    def _draw(self, account: Account, entry: Entry, wanted: int) -> None:
        for lot in self._in_spending_order(account, entry.currency):
            taken = (
                min(lot.free, wanted + entry.points)
                if self._alive_at(account, lot, self.now)
                else 0
            )
            if taken and not lot.pending:
                lot.free -= taken
                entry.points -= taken
                entry.draws += ((lot.sequence, taken),)
        self._enter(account, entry, entry.points)

    def _in_spending_order(self, account: Account, currency: str) -> list[Lot]:
        def order(lot: Lot) -> tuple[bool, datetime, datetime, int]:
            expires = self.expire_time(account, lot)
            return expires is None, expires or self.now, lot.earn_time, lot.sequence

        return sorted((lot for lot in account.lots if lot.currency == currency), key=order)

    def _alive_at(self, account: Account, lot: Lot, instant: datetime) -> bool:
        expires = self.expire_time(account, lot)
        return expires is None or instant < expires

    def _spendable(self, account: Account, currency: str) -> int:
        lots = [lot for lot in account.lots if lot.currency == currency and not lot.pending]
        return sum(lot.free for lot in lots if self._alive_at(account, lot, self.now))

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

    def _enter(self, account: Account, entry: Entry, available: int = 0, pending: int = 0) -> None:
        entry.sequence = len(account.entries) + 1
        entry.available_change, entry.pending_change = available, pending
        entry.available_after = self.available(account, entry.currency)
        entry.pending_after = self.pending(account, entry.currency)
        account.entries.append(entry)

    # Time

    def advance(self, time: datetime) -> int:
        """Moves the clock, does what is due, and answers how many accounts had something due."""
        if time < self.now:
            raise Refused("CLOCK_GOES_BACK")
        self.now = time
        return sum(self._settle(account) for account in self.accounts.values())

    def _settle(self, account: Account) -> bool:
        """Matures, then expires, at each instant at which something is due, in order."""
        settled = False
        while due := [time for time in self._due_times(account) if time <= self.now]:
            settled = True
            instant = min(due)
            for lot in account.lots:
                if lot.free and lot.pending and lot.mature_time <= instant:
                    lot.pending = False
                    entry = Entry(0, "MATURED", instant, "", lot.currency, lot=lot.sequence)
                    self._enter(account, entry, lot.free, -lot.free)
            for currency in self.settings.currencies:
                self._expire(account, currency, instant)
        return settled

    def next_due(self) -> datetime | None:
        """The next instant at which time alone changes an account."""
        times = [time for account in self.accounts.values() for time in self._due_times(account)]
        return min(times, default=None)

    def _due_times(self, account: Account) -> list[datetime]:
        times = []
        for lot in account.lots:
            expires = self.expire_time(account, lot)
            if lot.free and lot.pending:
                times.append(lot.mature_time)
            if lot.free and expires is not None:
                times.append(expires)
        return times

    def _expire(self, account: Account, currency: str, instant: datetime) -> None:
        dead = [
            lot
            for lot in self._in_spending_order(account, currency)
            if lot.free and not self._alive_at(account, lot, instant)
        ]
        if dead:
            self._expire_lots(account, dead, Entry(0, "EXPIRED", instant, ""))

    def _expire_lots(self, account: Account, dead: list[Lot], entry: Entry) -> None:
        entry.currency = dead[0].currency
        entry.draws = tuple((lot.sequence, lot.free) for lot in dead)
        pending = sum(lot.free for lot in dead if lot.pending)
        available = sum(lot.free for lot in dead if not lot.pending)
        for lot in dead:
            lot.free = 0
        entry.points = -available - pending
        self._enter(account, entry, -available, -pending)

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

    def total(self, account: Account, currency: str, kind: str) -> int:
        """All points ever moved by entries of a kind, without sign."""
        return sum(
            abs(entry.points)
            for entry in account.entries
            if entry.currency == currency and entry.kind == kind
        )

    def currencies(self, account: Account) -> list[str]:
        """The default currency and every one that an entry names, by id."""
        named = {entry.currency for entry in account.entries if entry.currency}
        return sorted(named | {self.settings.currencies[0]})

    def counter(self, account: Account, window: Window) -> int:
        """The sum of a counter over the local days of a window."""
        name, _, currency = window.counter.partition(":")
        zone = self.settings.zone
        day = local_day(window.time or self.now, zone)
        first, last = window_days(window.period, window.length, day)
        entries = [
            entry
            for entry in account.entries
            if first <= local_day(entry.effective_time, zone) <= last
        ]
        if name == "points_earned":
            currency = currency or self.settings.currencies[0]
            if currency not in self.settings.currencies:
                raise Refused("CURRENCY_NOT_FOUND", currency=currency)
            earned = [entry for entry in entries if entry.kind == "EARNED"]
            return sum(entry.points for entry in earned if entry.currency == currency)
        if window.counter not in self.settings.counters:
            raise Refused("COUNTER_NOT_FOUND", counter=window.counter)
        return sum(entry.counter_change for entry in entries if entry.counter == name)

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

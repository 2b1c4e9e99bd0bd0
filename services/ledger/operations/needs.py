"""What commands need of accounts besides what is always loaded, and loading what few need."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from chassis.database import Connection
from kernel import calendar
from services.ledger.domain import counters
from services.ledger.domain.account import Lot
from services.ledger.domain.commands import (
    CaptureHold,
    Command,
    Count,
    Earn,
    Operation,
    ReleaseHold,
    Reverse,
    TransferPoints,
)
from services.ledger.domain.config import LimitsPeriod
from services.ledger.domain.counters import billing_month
from services.ledger.domain.fold import Fold
from services.ledger.store import accounts as account_rows
from services.ledger.store import rare
from services.ledger.store.accounts import CounterRange, Key, Loaded
from services.ledger.store.rare import EntryKey

Wanted = Collection[tuple[Key, Operation]]
"""Operations that need more than most, and the accounts where they land."""


ALL_POINTS = 2**62
"""More than any account has."""


class Draws:
    """Which lots the commands of a transaction draw from.

    Accounts with something due need all of their open lots, and so do some commands. Who only
    spends needs the first to expire: a fleet's account may have many thousands.
    """

    def __init__(self, due: Iterable[Key]) -> None:
        self._all = set(due)
        self._first: dict[Key, int] = {}

    def note(self, key: Key, command: Command) -> None:
        """A command lands in an account."""
        points = command.draws()
        if points is None:
            self._all.add(key)
        elif points:
            self._first[key] = min(self._first.get(key, 0) + points, ALL_POINTS)

    async def load(
        self, connection: Connection, loaded: dict[Key, Loaded], whole: Collection[Key]
    ) -> None:
        """Load them, but for accounts that were loaded whole; balances are loaded."""
        everything = self._all.difference(whole)
        if everything:
            await account_rows.load_open_lots(connection, loaded, sorted(everything))
        first = {
            key: points
            for key, points in sorted(self._first.items())
            if key not in self._all and key not in whole
        }
        if first:
            await account_rows.load_first_lots(connection, loaded, first)


def counter_ranges(fold: Fold, command: Command) -> set[CounterRange]:
    """The months of counters that a command reads or changes."""
    key = fold.account.key
    policy = fold.policy
    instant = command.effective_time or fold.now
    ranges: set[CounterRange] = set()
    for operation in command.operations:
        if isinstance(operation, Earn) and operation.currency in policy.currency_numbers:
            number = -1 - policy.currency_numbers[operation.currency]
            ranges.add((*key, number, *earning_months(fold, command)))
        elif isinstance(operation, Count) and operation.counter in policy.counter_numbers:
            ranges.add(_month(fold, policy.counter_numbers[operation.counter], instant))
        elif isinstance(operation, TransferPoints):
            number = counters.TRANSFERRED - policy.currency_numbers.get(operation.currency, 0)
            ranges.update(_month(fold, n, instant) for n in (counters.TRANSFERS, number))
    for expectation in command.expect:
        counter = policy.counter_numbers.get(expectation.name)
        if counter is not None:
            first, last = counters.bounds(expectation.window, fold.now, policy.zone)
            ranges.add((*key, counter, *counters.months_of(first, last)))
    return ranges


def earning_months(fold: Fold, command: Command) -> tuple[int, int]:
    """The first and the last month whose days the limits of an earning read."""
    policy, instant = fold.policy, command.effective_time or fold.now
    day = calendar.local_day(instant, policy.zone)
    if policy.config.limits_period is LimitsPeriod.CALENDAR_MONTH:
        month = calendar.month_index(day)
        return month, month
    return counters.months_of(*billing_month(day, fold.account.billing_day or 1))


def needs_whole(fold: Fold) -> bool:
    """Whether settling an account takes more than its open lots; balances are loaded."""
    if fold.policy.config.expiry_notice_days:
        return True
    return any(each.held or each.debt for each in fold.account.balances.values())


async def load_rare(
    connection: Connection,
    folds: Mapping[Key, Fold],
    loaded: dict[Key, Loaded],
    due: Collection[Key],
    wanted: Wanted,
) -> set[Key]:
    """Load whole the accounts that need it; which those are. `due` are those to be settled."""
    keys = {key for key, _ in wanted}
    keys.update(key for key in due if needs_whole(folds[key]))
    if not keys:
        return keys
    named: set[EntryKey] = set()
    origins: dict[Key, set[EntryKey]] = {}
    entries: dict[EntryKey, Key] = {}
    for key, operation in wanted:
        if isinstance(operation, Reverse):
            _note_reversal(key, operation, named, origins, entries)
    await rare.load_lots(connection, loaded, sorted(keys), sorted(named), origins)
    await _load_holds(connection, folds, loaded, keys, wanted)
    if entries:
        for entry, points in (await rare.reversed_of(connection, sorted(entries))).items():
            folds[entries[entry]].account.reversed[entry] = points
    await _load_months(connection, folds, loaded, keys, wanted)
    return keys


def _note_reversal(
    key: Key,
    operation: Reverse,
    named: set[EntryKey],
    origins: dict[Key, set[EntryKey]],
    entries: dict[EntryKey, Key],
) -> None:
    lots = {sequence for entry in operation.entries for sequence, _ in entry.draws}
    lots.update(entry.lot for entry in operation.entries if entry.lot is not None)
    places = {(*operation.account, sequence) for sequence in lots}
    if operation.account == key:
        named.update(places)
    origins.setdefault(key, set()).update(places)
    entries.update({(*operation.account, entry.sequence): key for entry in operation.entries})
    # How much of a claim on a lot of another account was met in this one.
    entries.update({(*operation.account, -lot): key for lot in lots})


async def _load_holds(
    connection: Connection,
    folds: Mapping[Key, Fold],
    loaded: dict[Key, Loaded],
    keys: Collection[Key],
    wanted: Wanted,
) -> None:
    holding = [
        key for key in keys if any(each.held for each in folds[key].account.balances.values())
    ]
    named = {
        (*key, operation.hold)
        for key, operation in wanted
        if isinstance(operation, (CaptureHold, ReleaseHold)) and operation.account == key
    }
    if holding or named:
        await rare.load_holds(connection, loaded, sorted(holding), sorted(named))


async def _load_months(
    connection: Connection,
    folds: Mapping[Key, Fold],
    loaded: dict[Key, Loaded],
    keys: Collection[Key],
    wanted: Wanted,
) -> None:
    """The months on whose days reversals and met claims set counters back."""
    ranges: set[CounterRange] = set()
    for key in keys:
        claimed = [lot for lot in folds[key].account.lots.values() if lot.claim]
        ranges.update(_earned_months(folds[key], claimed))
    for key, operation in wanted:
        if isinstance(operation, Reverse):
            ranges.update(_reversed_months(folds[key], operation))
    missing = [
        each for each in ranges if (each[2], each[3]) not in folds[each[:2]].account.counters
    ]
    if missing:
        await account_rows.load_counters(connection, loaded, sorted(missing))


def _earned_months(fold: Fold, lots: Iterable[Lot]) -> set[CounterRange]:
    return {_month(fold, -1 - lot.currency, lot.earn_time) for lot in lots}


def _reversed_months(fold: Fold, operation: Reverse) -> set[CounterRange]:
    ranges: set[CounterRange] = set()
    for entry in operation.entries:
        counter = entry.counter
        if counter is None and entry.currency is not None:
            counter = -1 - entry.currency
        if counter is not None:
            ranges.add(_month(fold, counter, entry.effective_time))
    return ranges


def _month(fold: Fold, counter: int, instant: datetime) -> CounterRange:
    """The local month of an instant, of a counter of the account."""
    month = calendar.month_index(calendar.local_day(instant, fold.policy.zone))
    return (*fold.account.key, counter, month, month)

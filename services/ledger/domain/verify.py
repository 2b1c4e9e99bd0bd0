"""Recomputing an account from its entries alone, and naming what does not follow from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from zoneinfo import ZoneInfo

from kernel import calendar
from services.ledger.domain.account import Account, Balance, Entry, Kind, Lot, Posting
from services.ledger.domain.digest import content_digest, entry_digest, first_digest

FINDINGS_MAX = 100

_TOTALS = {
    Kind.EARNED: ("earned", 1),
    Kind.REDEEMED: ("redeemed", -1),
    Kind.ADJUSTED_IN: ("adjusted_in", 1),
    Kind.ADJUSTED_OUT: ("adjusted_out", -1),
    Kind.EXPIRED: ("expired", -1),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A stored value that does not follow from the entries. `row` names lots by sequence."""

    row: str
    field: str
    expected: str
    stored: str


@dataclass(slots=True)
class _Lot:
    currency: int
    points: int
    free: int
    pending: bool


class Verifier:
    """Reads an account's entries from the first to the last, then compares what is stored."""

    def __init__(self, bucket: int, account: int, zone: ZoneInfo) -> None:
        self.findings: list[Finding] = []
        self.entries = 0
        self._zone = zone
        self._digest = first_digest(bucket, account)
        self._balances: dict[int, Balance] = {}
        self._lots: dict[int, _Lot] = {}
        self._made: dict[int, Entry] = {}
        self._counters: dict[tuple[int, int], list[int]] = {}
        self._record_time = None
        self._content: tuple[int, bytes] | None = None
        self._versions: set[int] = set()

    def read(self, entry: Entry, posting: Posting | None) -> None:
        """Take in the next entry and its posting; None where the posting is missing."""
        self.entries += 1
        row = f"entry {entry.sequence}"
        self._check(row, "sequence", self.entries, entry.sequence)
        if posting is None:
            self._check(row, "posting", "a posting", "none")
            return
        if self._content is None or self._content[0] != posting.sequence:
            self._content = (posting.sequence, content_digest(posting))
        self._digest = entry_digest(self._digest, entry, self._content[1])
        if self._digest != entry.digest:
            self._check(row, "digest", self._digest.hex(), entry.digest.hex())
            # What follows is judged by what is stored, so that the first bad row is named once.
            self._digest = entry.digest
        if posting.request_id is not None:
            self._versions.add(posting.version)
        if entry.kind is Kind.COUNTED and entry.counter is not None:
            self._count(entry.counter, entry, entry.counter_change or 0)
        elif entry.currency is not None:
            self._move(row, entry, entry.currency)

    def finish(
        self,
        account: Account,
        lots: Iterable[Lot],
        counters: Mapping[tuple[int, int], list[int]],
    ) -> list[Finding]:
        """Compare what is stored with what follows; findings in the order of history."""
        self._check("account", "sequence", self.entries, account.sequence)
        self._check("account", "digest", self._digest.hex(), account.digest.hex())
        self._check("account", "version", len(self._versions), account.version)
        for currency in sorted({*self._balances, *account.balances}):
            self._compare_balance(currency, account.balances.get(currency, Balance()))
        stored_lots = {lot.sequence: lot for lot in lots}
        for sequence in sorted({*self._lots, *stored_lots}):
            self._compare_lot(sequence, stored_lots.get(sequence))
        for key in sorted({*self._counters, *counters}):
            counter, month = key
            self._check(
                f"counter {counter} month {month}",
                "days",
                self._counters.get(key, [0] * 31),
                counters.get(key, [0] * 31),
            )
        return self.findings[:FINDINGS_MAX]

    def _move(self, row: str, entry: Entry, currency: int) -> None:
        balance = self._balances.setdefault(currency, Balance())
        a, p, h, d = entry.change
        self._check(row, "points", a + p + h - d, entry.points)
        balance.available += a
        balance.pending += p
        balance.held += h
        balance.debt += d
        after = (balance.available, balance.pending, balance.held, balance.debt)
        self._check(row, "after", after, entry.after)
        total = _TOTALS.get(entry.kind)
        if total is not None:
            name, sign = total
            setattr(balance, name, getattr(balance, name) + sign * entry.points)
        if entry.kind is Kind.MATURED and entry.lot in self._lots:
            self._lots[entry.lot].pending = False
        elif entry.lot is not None and entry.points:
            pending = entry.change[1] > 0
            self._lots[entry.lot] = _Lot(currency, entry.points, entry.points, pending)
            self._made[entry.lot] = entry
            self._check(row, "lot", entry.sequence, entry.lot)
        drawn = 0
        for sequence, points in entry.draws:
            drawn += points
            lot = self._lots.get(sequence)
            if lot is None or lot.free < points or lot.currency != currency:
                self._check(row, "draws", "points of a lot", f"{points} of lot {sequence}")
            else:
                lot.free -= points
        if entry.draws:
            self._check(row, "draws", -entry.points, drawn)
        if entry.kind is Kind.EARNED and entry.points:
            self._count(-1 - currency, entry, entry.points)

    def _count(self, counter: int, entry: Entry, value: int) -> None:
        day = calendar.local_day(entry.effective_time, self._zone)
        key = (counter, calendar.month_index(day))
        self._counters.setdefault(key, [0] * 31)[day.day - 1] += value

    def _compare_balance(self, currency: int, stored: Balance) -> None:
        expected = self._balances.get(currency, Balance())
        row = f"balance {currency}"
        for each in fields(Balance):
            self._check(row, each.name, getattr(expected, each.name), getattr(stored, each.name))
        mine = [lot for lot in self._lots.values() if lot.currency == currency]
        free = sum(lot.free for lot in mine if not lot.pending)
        pending = sum(lot.free for lot in mine if lot.pending)
        self._check(row, "available", free, stored.available)
        self._check(row, "pending", pending, stored.pending)

    def _compare_lot(self, sequence: int, stored: Lot | None) -> None:
        row = f"lot {sequence}"
        expected = self._lots.get(sequence)
        if expected is None or stored is None:
            self._check(row, "row", expected is not None, stored is not None)
            return
        made = self._made[sequence]
        for name, follows, is_stored in (
            ("currency", expected.currency, stored.currency),
            ("points", expected.points, stored.points),
            ("free", expected.free, stored.free),
            ("held", 0, stored.held),
            ("pending", expected.pending, stored.pending),
            ("earn_time", made.effective_time, stored.earn_time),
            ("mature_time", made.mature_time, stored.mature_time),
            ("expiry_kind", made.expiry_kind, stored.expiry_kind),
            ("inactivity_months", made.inactivity_months, stored.inactivity_months),
        ):
            self._check(row, name, follows, is_stored)
        if not stored.inactivity_months:
            self._check(row, "expire_time", made.expire_time, stored.expire_time)

    def _check(self, row: str, field: str, expected: object, stored: object) -> None:
        if expected != stored and len(self.findings) < FINDINGS_MAX:
            finding = Finding(row, field, str(expected), str(stored))
            if finding not in self.findings:
                self.findings.append(finding)

"""Recomputing an account from its entries alone, and naming what does not follow from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from zoneinfo import ZoneInfo

from services.ledger.domain.account import Account, Balance, Entry, Hold, Lot, Posting
from services.ledger.domain.config import ExpiryKind
from services.ledger.domain.digest import content_digest, entry_digest, first_digest
from services.ledger.domain.rebuild import Rebuilder

FINDINGS_MAX = 100

_HOLD_FIELDS = ("currency", "points", "parts", "create_time", "expire_time", "state", "captured")
_LOT_FIELDS = (
    "currency",
    "points",
    "free",
    "held",
    "pending",
    "earn_time",
    "mature_time",
    "expiry_kind",
    "inactivity_months",
    "expiry_days",
    "expiry_round",
    "expired",
    "repaid",
    "claim",
    "covered",
    "noticed_time",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A stored value that does not follow from the entries. `row` names lots by sequence."""

    row: str
    field: str
    expected: str
    stored: str


class Verifier:
    """Reads an account's entries from the first to the last, then compares what is stored."""

    def __init__(self, bucket: int, account: int, zone: ZoneInfo) -> None:
        self.findings: list[Finding] = []
        self.entries = 0
        self._key = (bucket, account)
        self._digest = first_digest(bucket, account)
        self._rebuilt = Rebuilder(self._key, zone, self._check)
        self._content: tuple[int, bytes] | None = None
        self._versions: set[int] = set()

    @property
    def rebuilt(self) -> Account:
        """The account made again from the entries read so far."""
        return self._rebuilt.account

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
        # A settlement has the version of the latest command.
        self._versions.add(posting.version)
        self._rebuilt.read(entry, posting)

    def finish(
        self,
        account: Account,
        lots: Iterable[Lot],
        counters: Mapping[tuple[int, int], list[int]],
    ) -> list[Finding]:
        """Compare what is stored with what follows; findings in the order of history.

        Balances, holds and what was reversed are the account's.
        """
        rebuilt = self.rebuilt
        self._check("account", "sequence", self.entries, account.sequence)
        self._check("account", "digest", self._digest.hex(), account.digest.hex())
        self._check("account", "version", len(self._versions - {0}), account.version)
        for currency in sorted({*rebuilt.balances, *account.balances}):
            self._compare_balance(currency, account.balances.get(currency, Balance()))
        stored_lots = {lot.sequence: lot for lot in lots}
        for sequence in sorted({*rebuilt.lots, *stored_lots}):
            self._compare_lot(sequence, stored_lots.get(sequence))
        for sequence in sorted({*rebuilt.holds, *account.holds}):
            self._compare_hold(sequence, account.holds.get(sequence))
        self._compare_reversed(account, stored_lots)
        for key in sorted({*rebuilt.counters, *counters}):
            counter, month = key
            self._check(
                f"counter {counter} month {month}",
                "days",
                rebuilt.counters.get(key, [0] * 31),
                counters.get(key, [0] * 31),
            )
        return self.findings[:FINDINGS_MAX]

    def _compare_balance(self, currency: int, stored: Balance) -> None:
        rebuilt = self.rebuilt
        expected = rebuilt.balances.get(currency, Balance())
        row = f"balance {currency}"
        for each in fields(Balance):
            self._check(row, each.name, getattr(expected, each.name), getattr(stored, each.name))
        mine = [lot for lot in rebuilt.lots.values() if lot.currency == currency]
        free = sum(lot.free for lot in mine if not lot.pending)
        pending = sum(lot.free for lot in mine if lot.pending)
        self._check(row, "available", free, stored.available)
        self._check(row, "pending", pending, stored.pending)
        self._check(row, "held", sum(lot.held for lot in mine), stored.held)

    def _compare_lot(self, sequence: int, stored: Lot | None) -> None:
        row = f"lot {sequence}"
        expected = self.rebuilt.lots.get(sequence)
        if expected is None or stored is None:
            self._check(row, "row", expected is not None, stored is not None)
            return
        for name in _LOT_FIELDS:
            self._check(row, name, getattr(expected, name), getattr(stored, name))
        if stored.expiry_kind is not ExpiryKind.INACTIVITY:
            self._check(row, "expire_time", expected.expire_time, stored.expire_time)
        if expected.origin is not None or sequence not in self._rebuilt.moved:
            self._check(row, "origin", expected.origin, stored.origin)

    def _compare_hold(self, sequence: int, stored: Hold | None) -> None:
        row = f"hold {sequence}"
        expected = self.rebuilt.holds.get(sequence)
        if expected is None or stored is None:
            self._check(row, "row", expected is not None, stored is not None)
            return
        for name in _HOLD_FIELDS:
            self._check(row, name, getattr(expected, name), getattr(stored, name))

    def _compare_reversed(self, account: Account, lots: Mapping[int, Lot]) -> None:
        expected = {
            sequence: points
            for (*key, sequence), points in self.rebuilt.reversed.items()
            if tuple(key) == self._key
        }
        for sequence, points in self._rebuilt.reversed_of_moved.items():
            # What was moved away and came back is reversed as what it was at first.
            origin = lots[sequence].origin if sequence in lots else None
            if origin is not None and origin[:2] == self._key:
                expected[origin[2]] = expected.get(origin[2], 0) + points
        stored = {
            sequence: points
            for (*key, sequence), points in account.reversed.items()
            if tuple(key) == self._key
        }
        for sequence in sorted({*expected, *stored}):
            follows, here = expected.get(sequence, 0), stored.get(sequence, 0)
            # An account that was linked to another one may have had more reversed there, and claims
            # on its lots noted.
            if (sequence > 0 and here < follows) or not self._rebuilt.linked:
                self._check(f"reversal {sequence}", "reversed", follows, here)

    def _check(self, row: str, field: str, expected: object, stored: object) -> None:
        if expected != stored and len(self.findings) < FINDINGS_MAX:
            finding = Finding(row, field, str(expected), str(stored))
            if finding not in self.findings:
                self.findings.append(finding)

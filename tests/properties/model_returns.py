"""What the reference model reverses: earnings with what they counted, and redemptions."""

from dataclasses import dataclass, field

from tests.properties.model_book import LIMIT
from tests.properties.model_holds import Holds, split
from tests.properties.model_shapes import (
    Account,
    Entry,
    Lot,
    Refused,
    Reversal,
    ReversePosting,
)
from tests.properties.model_time import days_after

SPENT = {"REDEEMED", "CAPTURED"}
REVERSIBLE = SPENT | {"EARNED", "COUNTED"}


@dataclass
class Taken:
    """What one earning gave back, from where."""

    pending: int = 0
    available: int = 0
    debt: int = 0
    expired: int = 0
    draws: list[tuple[int, int]] = field(default_factory=list)

    def all(self) -> int:
        """Points taken, debt included."""
        return self.pending + self.available + self.debt


class Returns(Holds):
    """Taking back and giving back, up to the original."""

    def _reverse(self, account: Account, op: ReversePosting, cause: Entry) -> Reversal:
        own = [entry for entry in account.entries if entry.request_id == op.posting]
        found = [entry for entry in own if entry.kind in REVERSIBLE]
        if not found:
            raise Refused("NOT_REVERSIBLE")
        named = {sequence for sequence, _ in op.parts}
        if named - {entry.sequence for entry in found}:
            raise Refused("NOT_REVERSIBLE")
        spent = any(entry.kind in SPENT for entry in found if entry.sequence in named or not named)
        operator = op.cause in {"CAUSE_UNSPECIFIED", "OPERATOR"}
        if spent and operator and not self.settings.redemption_reversal:
            raise Refused("SETTING_OFF", setting="redemption.reversal")
        parts = self._parts(account, op, found)
        for entry, points in parts:
            left = self._left(account, entry)
            if points > left:
                raise self._exceeds(left, points)
        reversals = [self._reverse_entry(account, entry, n, cause) for entry, n in parts]
        for currency in sorted({entry.currency for entry, _ in parts if entry.currency}):
            self._repay(account, currency, cause.effective_time, cause.request_id)
        return Reversal(
            sum(each.reversed for each in reversals),
            sum(each.unrecovered for each in reversals),
            sum(each.expired for each in reversals),
        )

    def _exceeds(self, available: int, required: int) -> Refused:
        return self._short("REVERSAL_EXCEEDS", available, required)

    def _parts(
        self, account: Account, op: ReversePosting, found: list[Entry]
    ) -> list[tuple[Entry, int]]:
        """Which entries, and how much of each."""
        if op.parts:
            by_sequence = {entry.sequence: entry for entry in found}
            return [(by_sequence[sequence], points) for sequence, points in op.parts]
        lefts = [(entry, self._left(account, entry)) for entry in found]
        if not op.points:
            if not any(left for _, left in lefts):
                raise self._exceeds(0, 1)
            return [(entry, left) for entry, left in lefts if left]
        lefts = [(entry, left) for entry, left in lefts if entry.kind != "COUNTED"]
        most, wanted = sum(left for _, left in lefts), op.points
        if wanted > most:
            raise self._exceeds(most, wanted)
        parts = []
        for entry, left in lefts:
            taken = min(left, wanted)
            wanted -= taken
            parts += [(entry, taken)] if taken else []
        return parts

    def _left(self, account: Account, entry: Entry) -> int:
        """How much of an entry can still be reversed."""
        all_of_it = abs(entry.counter_change if entry.kind == "COUNTED" else entry.points)
        return all_of_it - account.reversed.get(entry.sequence, 0)

    def _reverse_entry(
        self, account: Account, original: Entry, points: int, cause: Entry
    ) -> Reversal:
        before = account.reversed.get(original.sequence, 0)
        account.reversed[original.sequence] = before + points
        entry = Entry(0, "", cause.effective_time, cause.request_id, original.currency)
        entry.related, entry.reason = original.sequence, cause.reason
        if original.kind == "COUNTED":
            entry.kind, entry.counter = "COUNT_REVERSED", original.counter
            # It counts when the other one did.
            entry.effective_time = original.effective_time
            entry.counter_change = -points if original.counter_change > 0 else points
            self._enter(account, entry)
            return Reversal()
        if original.kind == "EARNED":
            return self._take_back(account, original, points, entry)
        return self._restore(account, original, before, points, entry)

    # Earnings

    def _take_back(self, account: Account, original: Entry, points: int, entry: Entry) -> Reversal:
        lot, taken = self.lot(account, original.sequence), Taken()
        own = min(points, lot.free)
        if own:
            self._take_from(taken, lot, own)
        repaid = min(points - own, lot.repaid)
        lot.repaid -= repaid
        taken.debt += repaid
        taken.expired = min(points - own - repaid, lot.expired)
        lot.expired -= taken.expired
        rest = points - own - repaid - taken.expired
        policy = self.settings.returns_policy
        if policy != "OWN_LOTS_ONLY":
            for other, most in self._draw(account, entry.currency, rest):
                self._take_from(taken, other, most)
                lot.covered += most
                rest -= most
        if policy == "ALLOW_DEBT":
            floor, owed = self.settings.debt_floor, self.debt(account, entry.currency) + taken.debt
            more = rest if floor is None else min(rest, max(0, floor - owed))
            taken.debt += more
            rest -= more
        lot.claim += rest
        entry.kind, entry.points, entry.draws = "EARNING_REVERSED", -taken.all(), tuple(taken.draws)
        entry.requested, entry.unrecovered, entry.expired = points, rest, taken.expired
        self._enter(
            account, entry, available=-taken.available, pending=-taken.pending, debt=taken.debt
        )
        return Reversal(taken.all(), rest, taken.expired)

    def _take_from(self, taken: Taken, lot: Lot, points: int) -> None:
        lot.free -= points
        taken.draws.append((lot.sequence, points))
        if lot.pending:
            taken.pending += points
        else:
            taken.available += points

    # Redemptions

    def _restore(
        self, account: Account, original: Entry, before: int, points: int, entry: Entry
    ) -> Reversal:
        if self.balance(account, entry.currency) + points > LIMIT:
            raise Refused("POINTS_OVERFLOW", limit=LIMIT)
        # Last drawn first: what was given back before lies at the end of the draws.
        _, later = split(tuple(reversed(original.draws)), before)
        draws, _ = split(later, points)
        pieces = [(self.lot(account, sequence), drawn) for sequence, drawn in draws]
        grace = self.settings.grace_days
        late = [
            (lot, drawn)
            for lot, drawn in pieces
            if grace and not self._alive_at(account, lot, self.now)
        ]
        in_time = [piece for piece in pieces if piece not in late]
        expired = sum(lot.expired for lot, _ in pieces)
        if in_time:
            self._give_to_lots(account, entry, in_time)
        if late:
            graced = Entry(0, "", entry.effective_time, entry.request_id, entry.currency)
            graced.related, graced.reason = entry.related, entry.reason
            graced.expire_time = days_after(self.now, grace, self.settings.zone)
            for lot, _ in late:
                lot.set_expiry, lot.graced = graced.expire_time, True
            self._give_to_lots(account, graced, late)
        self._come_back(account, pieces, entry)
        return Reversal(points, 0, sum(lot.expired for lot, _ in pieces) - expired)

    def _give_to_lots(self, account: Account, entry: Entry, pieces: list[tuple[Lot, int]]) -> None:
        for lot, points in pieces:
            lot.free += points
        entry.kind, entry.points = "REDEMPTION_RESTORED", sum(points for _, points in pieces)
        entry.requested = entry.points
        entry.draws = tuple((lot.sequence, points) for lot, points in pieces)
        self._enter(account, entry, available=entry.points)

"""An account made anew from its entries alone, without the ledger's help."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.properties.messages import MAKES_LOT
from tests.properties.model_shapes import Entry

# What the draws of an entry do to the free and to the held part of their lots.
DRAWS = {
    "REDEEMED": (-1, 0),
    "ADJUSTED_OUT": (-1, 0),
    "EXPIRED": (-1, 0),
    "TRANSFERRED_OUT": (-1, 0),
    "MOVED_OUT": (-1, 0),
    "EARNING_REVERSED": (-1, 0),
    "DEBT_REPAID": (-1, 0),
    "HELD": (-1, 1),
    "CAPTURED": (0, -1),
    "RELEASED": (1, -1),
    "LAPSED": (1, -1),
    "REDEMPTION_RESTORED": (1, 0),
    # They say which lots they are about, and take nothing.
    "EXPIRY_NOTICED": (0, 0),
}
ENDS = {"CAPTURED": "CAPTURED", "RELEASED": "RELEASED", "LAPSED": "LAPSED"}


@dataclass
class Rebuilt:
    """What follows from entries: the four numbers by currency, lots and holds by sequence."""

    numbers: dict[str, list[int]] = field(default_factory=dict)
    lots: dict[int, list[int]] = field(default_factory=dict)
    holds: dict[int, str] = field(default_factory=dict)

    def lots_left(self) -> dict[int, tuple[int, int]]:
        """Free and held points of lots that have any."""
        return {lot: (free, held) for lot, (free, held) in self.lots.items() if free or held}


def rebuild(entries: Sequence[Entry]) -> Rebuilt:
    """Folds entries, oldest first; fails where one does not follow from those before."""
    account = Rebuilt()
    for number, entry in enumerate(entries, 1):
        assert entry.sequence == number, "a gap"
        if not entry.currency:
            continue
        numbers = account.numbers.setdefault(entry.currency, [0, 0, 0, 0])
        change = (
            entry.available_change,
            entry.pending_change,
            entry.held_change,
            entry.debt_change,
        )
        for place, moved in enumerate(change):
            numbers[place] += moved
        after = [entry.available_after, entry.pending_after, entry.held_after, entry.debt_after]
        assert numbers == after, entry
        assert min(numbers) >= 0, entry
        if entry.lot and entry.kind in MAKES_LOT | {"REDEMPTION_RESTORED"}:
            account.lots[entry.lot] = [entry.points, 0]
        for lot, points in entry.draws:
            free, held = DRAWS[entry.kind]
            account.lots[lot][0] += free * points
            account.lots[lot][1] += held * points
            assert min(account.lots[lot]) >= 0, entry
        if entry.kind == "HELD":
            account.holds[entry.sequence] = "OPEN"
        # What a capture leaves is released by the same posting, and the hold is captured.
        if entry.kind in ENDS and account.holds[entry.related] == "OPEN":
            account.holds[entry.related] = ENDS[entry.kind]
    for available, _, _, debt in account.numbers.values():
        assert not (available and debt)
    return account

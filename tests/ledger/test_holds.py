"""Holds, over a real server."""

from tests.ledger.points_kit import KIND, Points
from tests.ledger.programs_kit import LedgerUnderTest


async def test_a_hold_is_captured_in_part_and_the_rest_comes_back(ledger: LedgerUnderTest) -> None:
    points = await Points(ledger).begin(redemption={"conversion_rate": "0.01"})
    await points.earn(100)

    held = await points.hold(60)
    assert await points.check() == (40, 0, 60, 0)
    captured = await points.capture(held.hold.hold, points=25)

    assert await points.check() == (75, 0, 0, 0)
    assert [entry.kind for entry in captured.posting.entries] == [KIND.CAPTURED, KIND.RELEASED]
    assert (captured.value.amount, captured.hold.captured) == ("0.25", 25)

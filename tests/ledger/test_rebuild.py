"""An account made again from its entries is the account, whatever was done to it, at every step."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.ledger.domain import commands
from services.ledger.domain.account import Account, Kind, Lot
from services.ledger.domain.config import (
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    ReturnsPolicy,
    RoundTo,
)
from services.ledger.domain.rebuild import rebuild
from tests.ledger.domain_kit import ACCOUNT, BUCKET, Book
from tests.properties.effort import LONG, SEED

STEPS = 3_000 if LONG else 250
KEY = (BUCKET, ACCOUNT)
EXPIRIES = (
    Expiry("never", ExpiryKind.NONE),
    Expiry("days", ExpiryKind.FIXED, days=20),
    Expiry("month", ExpiryKind.FIXED, months=1, round_to=RoundTo.MONTH),
    Expiry("idle", ExpiryKind.INACTIVITY, months=1),
    Expiry("dated", ExpiryKind.DATE, date=datetime(2026, 5, 1, tzinfo=UTC).date()),
)


def _lot(lot: Lot) -> tuple[Any, ...]:
    return (
        lot.sequence, lot.currency, lot.points, lot.free, lot.held, lot.pending, lot.earn_time,
        lot.mature_time, lot.expire_time, lot.expiry_kind, lot.inactivity_months, lot.expired,
        lot.repaid, lot.claim, lot.covered, lot.noticed_time,
    )  # fmt: skip


def seen(account: Account) -> dict[str, Any]:
    """What follows from the entries of an account."""
    return {
        "balances": {n: each for n, each in account.balances.items() if each != type(each)()},
        "lots": sorted(_lot(lot) for lot in account.lots.values()),
        "counters": {key: days for key, days in account.counters.items() if any(days)},
        "holds": {
            each.sequence: (each.points, each.parts, each.expire_time, each.state, each.captured)
            for each in account.holds.values()
        },
        "reversed": {key: points for key, points in account.reversed.items() if points},
        "activity": account.last_activity_time,
        "state": account.state,
        "version": account.version,
        "sequence": account.sequence,
        "digest": account.digest,
    }


class Walk:
    """Does whatever can be done to one account, at random."""

    def __init__(self, seed: int, **settings: Any) -> None:
        self.dice = random.Random(seed)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.book = Book(
            currencies=(CurrencyConfig("points"), CurrencyConfig("miles")),
            expiry=EXPIRIES,
            pending_conversion=True,
            redemption_reversal=True,
            **settings,
        )
        self.refused = 0

    def step(self) -> None:
        """Let some time pass and do something."""
        dice = self.dice
        self.now += timedelta(hours=dice.choice((0, 1, 7, 90, 400)))
        now = self.now.replace(tzinfo=None).isoformat()
        back = self.now - timedelta(days=dice.choice((0, 0, 3, 40)))
        try:
            self.book.do(now, self.operation(), effective=back.replace(tzinfo=None).isoformat())
        except Refusal:
            self.refused += 1
            self.book.settle(now)

    def operation(self) -> Any:
        """Something that can be asked for, sensible or not."""
        dice = self.dice
        points = dice.randrange(1, 120)
        currency = dice.choice(("", "", "miles"))
        ahead = self.now + timedelta(days=dice.randrange(1, 30))
        make = dice.choice((
            lambda: commands.Earn(
                points,
                currency,
                dice.choice(EXPIRIES).strategy,
                dice.choice((None, ahead)),
            ),
            lambda: commands.Earn(points, currency, dice.choice(EXPIRIES).strategy),
            lambda: commands.Redeem(points, currency, dice.random() < 0.5),
            lambda: commands.Adjust(points, "why", currency, expiry="days"),
            lambda: commands.Adjust(-points, "why", currency, allow_partial=True),
            lambda: commands.Count("visits", dice.choice((1, 2, -1))),
            lambda: commands.CreateHold(points, currency, dice.choice((None, ahead))),
            self.capture,
            self.release,
            lambda: commands.ActivatePending(currency),
            self.reverse,
            self.reverse,
            self.opening,
        ))  # fmt: skip
        if dice.random() < 0.02:
            return commands.Freeze("why")
        if self.book.account.state == 2:
            return commands.Unfreeze("why")
        return make()

    def opening(self) -> Any:
        """What a member brings, some of it expired."""
        awarded = self.now - timedelta(days=self.dice.randrange(60))
        balances = tuple(
            commands.Opening(self.dice.randrange(1, 50), "", awarded, None, expiry)
            for expiry in ("days", "idle", "never")
        )
        return commands.Import(balances)

    def capture(self) -> Any:
        hold = self.some_hold()
        points = self.dice.choice((0, 1, self.dice.randrange(1, 50)))
        return commands.CaptureHold(hold, "id", KEY, points=points)

    def release(self) -> Any:
        return commands.ReleaseHold(self.some_hold(), "id", KEY)

    def some_hold(self) -> int:
        if not self.book.account.holds:
            raise Refusal("no hold")
        return self.dice.choice(sorted(self.book.account.holds))

    def reverse(self) -> Any:
        """The reversal of some posting, half of the time of a part of it."""
        kinds = {Kind.EARNED, Kind.REDEEMED, Kind.CAPTURED, Kind.COUNTED}
        postings = [
            posting
            for posting in self.book.postings[-30:]
            if any(entry.kind in kinds for entry in posting.entries)
        ]
        if not postings:
            raise Refusal("nothing to reverse")
        posting = self.dice.choice(postings)
        points = self.dice.choice((0, self.dice.randrange(1, 60)))
        return commands.Reverse("p", KEY, tuple(posting.entries), points=points)

    def entries(self) -> list[Any]:
        """The whole history."""
        return [(entry, posting) for posting in self.book.postings for entry in posting.entries]


@pytest.mark.parametrize("policy", list(ReturnsPolicy))
@pytest.mark.parametrize("days", [0, 9])
def test_entries_alone_make_the_account_again(policy: ReturnsPolicy, days: int) -> None:
    print(f"LOYALTY_TEST_SEED={SEED}")
    walk = Walk(
        SEED + days, returns_policy=policy, reversal_grace_days=days, expiry_notice_days=days
    )

    for step in range(STEPS):
        walk.step()
        if walk.book.account.sequence == 0:
            continue
        made = rebuild(KEY, walk.entries(), walk.book.policy.zone)
        assert made is not None
        assert seen(made) == seen(walk.book.account), f"step {step}"

    kinds = {entry.kind for entry, _ in walk.entries()}
    assert len(kinds) >= 14, sorted(kind.name for kind in kinds)
    assert walk.refused < STEPS

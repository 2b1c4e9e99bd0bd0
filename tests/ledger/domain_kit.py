"""Accounts, policies and folds for tests of the domain: no database, no clock."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

from services.ledger.domain.account import Account, Entry, Kind, Posting
from services.ledger.domain.commands import (
    CaptureHold,
    Command,
    CreateHold,
    Operation,
    ReleaseHold,
    Reverse,
)
from services.ledger.domain.config import (
    CounterConfig,
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    ProgramConfig,
    ReturnsPolicy,
)
from services.ledger.domain.decide import check_preconditions, decide
from services.ledger.domain.digest import first_digest
from services.ledger.domain.fold import Fold
from services.ledger.domain.policy import Policy
from services.ledger.domain.settle import settle
from services.ledger.domain.verify import Finding, Verifier

BUCKET, ACCOUNT = 3, 77
KEY = (BUCKET, ACCOUNT)

TEN = Expiry("ten", ExpiryKind.FIXED, days=10)
NEVER = Expiry("never", ExpiryKind.NONE)
STRATEGIES: dict[str, Any] = {"expiry": (NEVER, TEN)}
WITHIN: dict[str, Any] = {"returns_policy": ReturnsPolicy.WITHIN_BALANCE}
OWN: dict[str, Any] = {"returns_policy": ReturnsPolicy.OWN_LOTS_ONLY}
DEBT: dict[str, Any] = {"returns_policy": ReturnsPolicy.ALLOW_DEBT}
POLICIES = {"within balance": WITHIN, "own lots only": OWN, "allow debt": DEBT}


def at(text: str) -> datetime:
    """An instant in UTC, such as `2026-01-31` or `2026-01-31T15:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def config(**changes: object) -> ProgramConfig:
    """A program's configuration with one currency and the counter `visits`."""
    given: dict[str, object] = {
        "currencies": (CurrencyConfig("points"),),
        "counters": (CounterConfig("visits"),),
    }
    return ProgramConfig(**{**given, **changes})  # type: ignore[arg-type]  # a test's short way


def account() -> Account:
    """An enrolled account without entries."""
    return Account(
        bucket=BUCKET,
        id=ACCOUNT,
        program=1,
        member="ada",
        enrol_time=at("2000-01-01"),
        record_time=at("2000-01-01"),
        digest=first_digest(BUCKET, ACCOUNT),
    )


class Book:
    """One account through time; every posting that it ever had."""

    def __init__(self, **changes: object) -> None:
        self.account = account()
        self.policy = Policy(1, config(**changes))
        self.postings: list[Posting] = []
        self._numbers = count(1)
        self._random: Callable[[], int] = count(1).__next__

    def fold(self, now: str) -> Fold:
        """A fold at an instant."""
        return Fold(self.account, self.policy, at(now), self._random)

    def settle(self, now: str) -> list[Posting]:
        """Post what fell due by an instant."""
        return self._keep(settle(self.fold(now)))

    def do(
        self, now: str, *operations: Operation, effective: str | None = None, **more: object
    ) -> Posting:
        """Settle, then apply a command; refusals are raised."""
        fold = self.fold(now)
        command = Command(
            organization="acme",
            program="p",
            member="ada",
            request_id=f"r{next(self._numbers)}",
            digest=b"0" * 16,
            operations=operations,
            effective_time=at(effective) if effective else None,
            indexed=len(operations) > 1,
            **more,  # type: ignore[arg-type]  # a test's short way
        )
        check_preconditions(fold, command)
        self._keep(settle(fold))
        return self._keep([decide(fold, command)])[0]

    def hold(self, now: str, points: int, **more: object) -> Posting:
        """Set points aside."""
        return self.do(now, CreateHold(points, **more))  # type: ignore[arg-type]  # a short way

    def capture(self, now: str, held: Posting, points: int = 0) -> Posting:
        """Redeem held points."""
        hold = held.entries[-1].sequence
        return self.do(now, CaptureHold(hold, "the hold", KEY, points=points))

    def release(self, now: str, held: Posting) -> Posting:
        """Give held points back."""
        return self.do(now, ReleaseHold(held.entries[-1].sequence, "the hold", KEY))

    def reverse(self, now: str, posting: Posting, points: int = 0, **more: object) -> Posting:
        """Reverse a posting, because a purchase was returned unless said otherwise."""
        given: dict[str, object] = {"by_operator": False, **more}
        entries = tuple(posting.entries)
        return self.do(now, Reverse("the posting", KEY, entries, points, **given))  # type: ignore[arg-type]

    def four(self, currency: int = 0) -> tuple[int, int, int, int]:
        """Available, pending, held and owed points."""
        balance = self.account.balance(currency)
        return balance.available, balance.pending, balance.held, balance.debt

    def kinds(self) -> list[Kind]:
        """The kinds of all entries after the first posting's."""
        return [entry.kind for posting in self.postings for entry in posting.entries]

    def entries(self, kind: Kind) -> list[Entry]:
        """All entries of a kind."""
        return [
            entry for posting in self.postings for entry in posting.entries if entry.kind is kind
        ]

    def findings(self) -> list[Finding]:
        """What does not follow from the entries."""
        verifier = Verifier(BUCKET, ACCOUNT, self.policy.zone)
        for posting in self.postings:
            for entry in posting.entries:
                verifier.read(entry, posting)
        account = self.account
        return verifier.finish(account, account.lots.values(), account.counters)

    def check(self) -> None:
        """Assert what always holds: the identity, lots that add up, and a history that verifies."""
        for currency, balance in self.account.balances.items():
            b = balance
            assert b.net() == (
                b.earned - b.earning_reversed - b.redeemed + b.redemption_restored - b.expired
                + b.adjusted_in - b.adjusted_out + b.transferred_in - b.transferred_out
            )  # fmt: skip
            assert min(self.four(currency)) >= 0
            assert not (b.available and b.debt), "points are available while points are owed"
            lots = [lot for lot in self.account.lots.values() if lot.currency == currency]
            assert sum(lot.free for lot in lots if not lot.pending) == b.available
            assert sum(lot.free for lot in lots if lot.pending) == b.pending
            assert sum(lot.held for lot in lots) == b.held
            assert all(lot.free + lot.held <= lot.points for lot in lots)
            assert all(not (lot.claim and lot.free) for lot in lots), "a claim was not met"
        sequences = [e.sequence for posting in self.postings for e in posting.entries]
        assert sequences == list(range(1, len(sequences) + 1))
        assert self.findings() == []

    def balance(self) -> tuple[int, int]:
        """Available and pending points of the default currency."""
        balance = self.account.balance(0)
        return balance.available, balance.pending

    def _keep(self, postings: list[Posting]) -> list[Posting]:
        for posting in postings:
            posting.sequence = len(self.postings) + 1
            self.postings.append(posting)
        return postings

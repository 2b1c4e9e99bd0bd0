"""Accounts, policies and folds for tests of the domain: no database, no clock."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

from services.ledger.domain.account import Account, Posting
from services.ledger.domain.commands import Command, Operation
from services.ledger.domain.config import CounterConfig, CurrencyConfig, ProgramConfig
from services.ledger.domain.decide import check_preconditions, decide
from services.ledger.domain.digest import first_digest
from services.ledger.domain.fold import Fold
from services.ledger.domain.policy import Policy
from services.ledger.domain.settle import settle

BUCKET, ACCOUNT = 3, 77


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

    def balance(self) -> tuple[int, int]:
        """Available and pending points of the default currency."""
        balance = self.account.balance(0)
        return balance.available, balance.pending

    def _keep(self, postings: list[Posting]) -> list[Posting]:
        for posting in postings:
            posting.sequence = len(self.postings) + 1
            self.postings.append(posting)
        return postings

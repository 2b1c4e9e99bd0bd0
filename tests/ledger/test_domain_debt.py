"""Points that are owed: what repays them, and what makes them owed again."""

from collections.abc import Callable
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.ledger.domain.account import Kind
from services.ledger.domain.commands import Adjust, Earn, Redeem
from services.ledger.domain.config import CurrencyConfig
from tests.ledger.domain_kit import DEBT, OWN, POLICIES, STRATEGIES, Book, at

Four = tuple[int, int, int, int]


def _owing(book: Book, points: int) -> None:
    earned = book.do("2026-01-01", Earn(points))
    book.do("2026-01-01", Redeem(points))
    book.reverse("2026-01-01", earned)
    assert book.four() == (0, 0, 0, points)


REPAYING: dict[str, tuple[Callable[[Book], Any], list[str], Four]] = {
    "an earning": (
        lambda book: book.do("2026-01-02", Earn(30)), ["EARNED", "DEBT_REPAID"], (0, 0, 0, 20),
    ),
    "an earning of more": (
        lambda book: book.do("2026-01-02", Earn(80)), ["EARNED", "DEBT_REPAID"], (30, 0, 0, 0),
    ),
    "a credit": (
        lambda book: book.do("2026-01-02", Adjust(30, "why")), ["ADJUSTED_IN", "DEBT_REPAID"],
        (0, 0, 0, 20),
    ),
    "a redemption that comes back": (
        lambda book: book.reverse("2026-01-02", book.postings[1], 10),
        ["REDEMPTION_RESTORED", "DEBT_REPAID"], (0, 0, 0, 40),
    ),
    "an earning that is dead already repays nothing": (
        lambda book: book.do("2026-02-01", Earn(30, expiry="ten"), effective="2026-01-02"),
        ["EARNED", "EXPIRED"], (0, 0, 0, 50),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPAYING)
def test_what_becomes_available_repays_debt(name: str) -> None:
    play, kinds, four = REPAYING[name]
    book = Book(**STRATEGIES, **DEBT)
    _owing(book, 50)

    posting = play(book)

    assert [entry.kind.name for entry in posting.entries] == kinds
    assert all(entry.points == 0 for entry in posting.entries[1:] if entry.kind != Kind.EXPIRED)
    assert book.four() == four
    book.check()


def test_a_pending_lot_repays_at_maturity_and_a_lapsed_hold_at_once() -> None:
    book = Book(**DEBT)
    earned = book.do("2026-01-01", Earn(50))
    book.hold("2026-01-01", 50, expire_time=at("2026-01-20"))
    book.do("2026-01-01", Earn(20, mature_time=at("2026-01-10")))
    book.reverse("2026-01-02", earned)
    assert book.four() == (0, 20, 50, 50)

    first, second = book.settle("2026-02-01")

    assert [entry.kind.name for entry in first.entries] == ["MATURED", "DEBT_REPAID"]
    assert [entry.kind.name for entry in second.entries] == ["LAPSED", "DEBT_REPAID"]
    assert book.four() == (20, 0, 0, 0)
    book.check()


@pytest.mark.parametrize("policy", POLICIES)
def test_debt_that_an_earning_repaid_is_owed_again_under_any_policy(policy: str) -> None:
    book = Book(**DEBT)
    _owing(book, 50)
    repaying = book.do("2026-01-02", Earn(80))
    book.do("2026-01-02", Redeem(30))
    book.policy = Book(**POLICIES[policy]).policy

    entry = book.reverse("2026-01-03", repaying).entries[0]

    owed = {"within balance": 50, "own lots only": 50, "allow debt": 80}[policy]
    assert (entry.change[3], entry.unrecovered or 0) == (owed, 80 - owed)
    assert book.four() == (0, 0, 0, owed)
    book.check()


def test_debt_that_is_owed_again_is_repaid_by_other_points_at_once() -> None:
    book = Book(**DEBT)
    _owing(book, 50)
    repaying = book.do("2026-01-02", Earn(50))
    book.do("2026-01-03", Earn(70))
    book.policy = Book(**OWN).policy

    posting = book.reverse("2026-01-04", repaying)

    assert [entry.kind.name for entry in posting.entries] == ["EARNING_REVERSED", "DEBT_REPAID"]
    assert book.four() == (20, 0, 0, 0)
    book.check()


def test_redeeming_is_blocked_while_points_are_owed_in_that_currency_only() -> None:
    book = Book(**DEBT, currencies=(CurrencyConfig("points"), CurrencyConfig("miles")))
    _owing(book, 50)
    book.do("2026-01-02", Earn(5, "miles"))

    with pytest.raises(Refusal) as refused:
        book.do("2026-01-02", Redeem(1))
    book.do("2026-01-02", Redeem(1, "miles"))

    assert refused.value.reason == "IN_DEBT"
    book.check()

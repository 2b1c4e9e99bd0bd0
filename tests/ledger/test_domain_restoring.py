"""Giving back redemptions; and that no points appear where points come back after a return."""

from typing import Any

import pytest

from services.ledger.domain.account import Kind
from services.ledger.domain.commands import Earn, Redeem, Reverse
from tests.ledger.domain_kit import KEY, OWN, POLICIES, STRATEGIES, Book, at


def _redeemed(book: Book) -> Any:
    book.do("2026-01-01", Earn(60, expiry="ten"))
    book.do("2026-01-01", Earn(60))
    return book.do("2026-01-02", Redeem(100))


def test_a_redemption_comes_back_to_its_lots_the_last_drawn_first() -> None:
    book = Book(**STRATEGIES)
    redeemed = _redeemed(book)

    for points in (30, 20, 50):
        book.reverse("2026-01-03", redeemed, points)

    restored = book.entries(Kind.REDEMPTION_RESTORED)
    assert [entry.draws for entry in restored] == [((2, 30),), ((2, 10), (1, 10)), ((1, 50),)]
    assert {entry.related for entry in restored} == {redeemed.entries[0].sequence}
    assert book.four() == (120, 0, 0, 0)
    book.check()


def test_what_expired_meanwhile_expires_again_and_is_said() -> None:
    book = Book(**STRATEGIES)
    redeemed = _redeemed(book)

    posting = book.reverse("2026-02-01", redeemed)

    assert [(e.kind, e.points, e.draws, e.effective_time) for e in posting.entries] == [
        (Kind.REDEMPTION_RESTORED, 100, ((2, 40), (1, 60)), at("2026-02-01")),
        (Kind.EXPIRED, -60, ((1, 60),), at("2026-02-01")),
    ]
    assert book.four() == (60, 0, 0, 0)
    book.check()


def test_a_reversal_that_counts_earlier_expires_what_died_after_it_at_its_instant() -> None:
    book = Book(**STRATEGIES)
    redeemed = _redeemed(book)

    posting = book.do("2026-02-01", _reversal(redeemed), effective="2026-01-05")

    assert [entry.effective_time for entry in posting.entries] == [
        at("2026-01-05"), at("2026-01-11"),
    ]  # fmt: skip


def test_within_the_grace_dead_points_live_on_and_die_at_its_end() -> None:
    book = Book(**STRATEGIES, reversal_grace_days=5)
    redeemed = _redeemed(book)

    posting = book.reverse("2026-02-01", redeemed)

    assert [(e.kind, e.draws, e.expire_time) for e in posting.entries] == [
        (Kind.REDEMPTION_RESTORED, ((2, 40),), None),
        (Kind.REDEMPTION_RESTORED, ((1, 60),), at("2026-02-06")),
    ]
    assert book.four() == (120, 0, 0, 0)
    book.settle("2026-02-06")
    assert book.four() == (60, 0, 0, 0)
    book.check()


def test_a_captured_hold_is_reversed_like_a_redemption() -> None:
    book = Book(redemption_reversal=True)
    book.do("2026-01-01", Earn(100))
    captured = book.capture("2026-01-01", book.hold("2026-01-01", 80), 50)

    book.reverse("2026-01-02", captured, 20, by_operator=True)
    posting = book.reverse("2026-01-02", captured)

    assert posting.entries[0].related == captured.entries[0].sequence
    assert book.four() == (100, 0, 0, 0)
    book.check()


def _reversal(posting: Any, **more: Any) -> Any:
    return Reverse("the posting", KEY, tuple(posting.entries), by_operator=False, **more)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("grace", [0, 30])
def test_hold_return_release_gives_nothing(policy: str, grace: int) -> None:
    book = Book(**STRATEGIES, **POLICIES[policy], reversal_grace_days=grace)
    earned = book.do("2026-01-01", Earn(100, expiry="ten"))
    held = book.hold("2026-01-02", 70, expire_time=at("2026-03-01"))
    book.reverse("2026-01-03", earned)
    book.release("2026-01-04", held)

    assert book.four() == (0, 0, 0, 0)
    assert sum(sum(days) for days in book.account.counters.values()) == 0
    book.check()


@pytest.mark.parametrize("policy", POLICIES)
def test_hold_return_lapse_gives_nothing(policy: str) -> None:
    book = Book(**STRATEGIES, **POLICIES[policy])
    earned = book.do("2026-01-01", Earn(100, expiry="ten"))
    book.hold("2026-01-02", 70)
    book.reverse("2026-01-02", earned)
    book.settle("2026-01-02T01:00")

    assert book.four() == (0, 0, 0, 0)
    book.check()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("grace", [0, 30])
@pytest.mark.parametrize("back", ["2026-01-04", "2026-02-01"])
def test_redeem_return_restore_gives_nothing(policy: str, grace: int, back: str) -> None:
    book = Book(**STRATEGIES, **POLICIES[policy], reversal_grace_days=grace)
    earned = book.do("2026-01-01", Earn(100, expiry="ten"))
    redeemed = book.do("2026-01-02", Redeem(70))
    book.reverse("2026-01-03", earned)
    book.reverse(back, redeemed, 30)
    book.reverse(back, redeemed)

    assert book.four() == (0, 0, 0, 0)
    assert sum(sum(days) for days in book.account.counters.values()) == 0
    book.check()


def test_a_claim_says_for_which_earning_it_was_met() -> None:
    book = Book(**OWN)
    earned = book.do("2026-01-01", Earn(100))
    redeemed = book.do("2026-01-01", Redeem(70))
    book.reverse("2026-01-02", earned)

    posting = book.reverse("2026-01-03", redeemed, 50)

    assert [(e.kind, e.points, e.requested, e.related, e.draws) for e in posting.entries] == [
        (Kind.REDEMPTION_RESTORED, 50, 50, 2, ((1, 50),)),
        (Kind.EARNING_REVERSED, -50, 0, 1, ((1, 50),)),
    ]
    assert book.account.lots[1].claim == 20
    book.check()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("between", ["nothing", "spent again"])
def test_returning_two_purchases_and_giving_back_what_one_bought_gives_nothing(
    policy: str, between: str
) -> None:
    book = Book(**POLICIES[policy])
    first = book.do("2026-01-01", Earn(100))
    redeemed = book.do("2026-01-02", Redeem(100))
    second = book.do("2026-01-03", Earn(100))
    book.reverse("2026-01-04", first)
    if between == "spent again" and policy != "own lots only":
        book.reverse("2026-01-05", redeemed)
        redeemed = book.do("2026-01-06", Redeem(100))
    book.reverse("2026-01-07", second)
    book.reverse("2026-01-08", redeemed)

    assert book.four() == (0, 0, 0, 0)
    assert sum(sum(days) for days in book.account.counters.values()) == 0
    book.check()


def test_points_that_nobody_returned_are_left_alone() -> None:
    book = Book(**POLICIES["within balance"])
    first = book.do("2026-01-01", Earn(100))
    redeemed = book.do("2026-01-02", Redeem(100))
    book.do("2026-01-03", Earn(100))
    book.reverse("2026-01-04", first)
    book.reverse("2026-01-05", redeemed)

    assert book.four() == (100, 0, 0, 0)
    book.check()

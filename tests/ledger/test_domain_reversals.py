"""Taking back earnings and what they counted, and what a reversal is refused for."""

from collections.abc import Callable
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.ledger.domain.account import Kind
from services.ledger.domain.commands import Adjust, Count, Earn, Redeem
from services.ledger.domain.config import POINTS_MAX, CurrencyConfig
from tests.ledger.domain_kit import DEBT, POLICIES, STRATEGIES, WITHIN, Book, at


def _untouched(book: Book) -> None:
    earned = book.do("2026-01-01", Earn(100))
    book.reverse("2026-01-02", earned)


def _pending(book: Book) -> None:
    earned = book.do("2026-01-01", Earn(100, mature_time=at("2026-02-01")))
    book.reverse("2026-01-02", earned, 30)


def _spent(book: Book) -> None:
    """40 of the 100 are spent, 50 others are there: first the own ones, then by the policy."""
    earned = book.do("2026-01-01", Earn(100))
    book.do("2026-01-01", Redeem(40))
    book.do("2026-01-01", Earn(25))
    book.reverse("2026-01-02", earned)


def _held(book: Book) -> None:
    """Held points of the own lot are not taken."""
    earned = book.do("2026-01-01", Earn(100))
    book.hold("2026-01-01", 100)
    book.do("2026-01-01", Earn(25))
    book.reverse("2026-01-01T00:10", earned)


def _expired(book: Book) -> None:
    """All its lots have expired: nothing is taken, least of all from other points."""
    earned = book.do("2026-01-01", Earn(100, expiry="ten"))
    book.do("2026-01-05", Earn(70))
    book.reverse("2026-02-01", earned)


def _partly_expired(book: Book) -> None:
    """60 were spent and 40 expired: first what is gone, then by the policy."""
    earned = book.do("2026-01-01", Earn(100, expiry="ten"))
    book.do("2026-01-02", Redeem(60))
    book.do("2026-01-05", Earn(70))
    book.reverse("2026-02-01", earned, 30)
    book.reverse("2026-02-01", earned, 30)
    book.reverse("2026-02-01", earned, 40)


Four = tuple[int, int, int, int]
Taken = tuple[int, int, int]
"""Points taken, unrecovered, counted as gone because they expired."""
RETURNED: dict[str, tuple[Callable[[Book], None], dict[str, tuple[Four, Taken]]]] = {
    "untouched": (_untouched, dict.fromkeys(POLICIES, ((0, 0, 0, 0), (100, 0, 0)))),
    "pending": (_pending, dict.fromkeys(POLICIES, ((0, 70, 0, 0), (30, 0, 0)))),
    "spent": (
        _spent,
        {
            "within balance": ((0, 0, 0, 0), (85, 15, 0)),
            "own lots only": ((25, 0, 0, 0), (60, 40, 0)),
            "allow debt": ((0, 0, 0, 15), (100, 0, 0)),
        },
    ),
    "held": (
        _held,
        {
            "within balance": ((0, 0, 100, 0), (25, 75, 0)),
            "own lots only": ((25, 0, 100, 0), (0, 100, 0)),
            "allow debt": ((0, 0, 100, 75), (100, 0, 0)),
        },
    ),
    "expired": (_expired, dict.fromkeys(POLICIES, ((70, 0, 0, 0), (0, 0, 100)))),
    "partly expired": (
        _partly_expired,
        {
            "within balance": ((10, 0, 0, 0), (60, 0, 40)),
            "own lots only": ((70, 0, 0, 0), (0, 60, 40)),
            "allow debt": ((10, 0, 0, 0), (60, 0, 40)),
        },
    ),
}
CASES = [(name, policy) for name in RETURNED for policy in POLICIES]


@pytest.mark.parametrize("name, policy", CASES)
def test_an_earning_is_taken_back(name: str, policy: str) -> None:
    play, expected = RETURNED[name]
    book = Book(**STRATEGIES, **POLICIES[policy])

    play(book)

    entries = book.entries(Kind.EARNING_REVERSED)
    taken = (
        -sum(entry.points for entry in entries),
        sum(entry.unrecovered or 0 for entry in entries),
        sum(entry.expired or 0 for entry in entries),
    )
    assert (book.four(), taken) == expected[policy]
    assert book.account.balance(0).earning_reversed == taken[0]
    # The day of the earning gets back what was taken, and no more.
    earned = sum(entry.points for entry in book.entries(Kind.EARNED))
    assert sum(sum(days) for days in book.account.counters.values()) == earned - taken[0]
    book.check()


def test_debt_goes_down_to_the_floor_and_the_rest_is_unrecovered() -> None:
    book = Book(**DEBT, debt_floor=30)
    earned = book.do("2026-01-01", Earn(100))
    book.do("2026-01-01", Redeem(100))

    first = book.reverse("2026-01-02", earned, 20).entries[0]
    second = book.reverse("2026-01-02", earned).entries[0]

    assert (first.change[3], first.unrecovered) == (20, None)
    assert (second.change[3], second.unrecovered) == (10, 70)
    book.check()


def test_ten_small_returns_take_as_much_as_one_large_one() -> None:
    one, ten = Book(**DEBT), Book(**DEBT)
    for book, parts in ((one, [100]), (ten, [10] * 10)):
        earned = book.do("2026-01-01", Earn(100))
        book.do("2026-01-01", Redeem(40))
        for points in parts:
            book.reverse("2026-01-02", earned, points)
        book.check()

    assert one.four() == ten.four() == (0, 0, 0, 40)


def test_counts_go_back_on_the_days_on_which_they_counted() -> None:
    book = Book(time_zone="America/New_York")
    counted = book.do(
        "2026-03-01T12:00", Count("visits", 3), Count("visits", -2), Earn(5),
        effective="2026-03-01T04:59",
    )  # fmt: skip

    book.reverse("2026-04-01", counted, parts=((counted.entries[0].sequence, 2),))
    book.reverse("2026-04-01", counted)

    assert book.account.month(0, 2026 * 12 + 1)[27] == 0, "still February in New York"
    assert book.account.month(-1, 2026 * 12 + 1)[27] == 0
    backs = book.entries(Kind.COUNT_REVERSED)
    assert [(entry.counter_change, entry.related) for entry in backs] == [(-2, 1), (-1, 1), (2, 2)]
    book.check()


def test_a_cap_has_room_again_for_what_was_really_taken() -> None:
    book = Book(**WITHIN, daily_cap=100)
    earned = book.do("2026-01-01", Earn(100))
    book.do("2026-01-01", Redeem(70))
    book.reverse("2026-01-01", earned)

    assert book.do("2026-01-01", Earn(100)).entries[0].points == 30
    book.check()


# Refusals


Step = Callable[[Book], Any]
REFUSED: dict[str, tuple[dict[str, Any], Step, str, dict[str, str]]] = {
    "an adjustment": (
        {}, lambda book: book.reverse("2026-01-02", book.do("2026-01-01", Adjust(5, "why"))),
        "NOT_REVERSIBLE", {"posting": "the posting"},
    ),
    "a part that is no entry of the posting": (
        {}, lambda book: book.reverse("2026-01-02", book.postings[0], parts=((99, 1),)),
        "NOT_REVERSIBLE", {"posting": "the posting"},
    ),
    "a redemption, by an operator, before it is looked how much is left": (
        {}, lambda book: book.reverse(
            "2026-01-02", book.do("2026-01-01", Redeem(5)), 99, by_operator=True
        ),
        "SETTING_OFF", {"setting": "redemption.reversal"},
    ),
    "more than was earned": (
        {}, lambda book: book.reverse("2026-01-02", book.postings[0], 101), "REVERSAL_EXCEEDS",
        {"available": "100", "required": "101", "shortfall": "1"},
    ),
    "more than is left": (
        {}, lambda book: (book.reverse("2026-01-02", book.postings[0], 60),
                          book.reverse("2026-01-02", book.postings[0], 60)),
        "REVERSAL_EXCEEDS", {"available": "40", "required": "60", "shortfall": "20"},
    ),
    "a part of more than is left of it": (
        {}, lambda book: book.reverse("2026-01-02", book.postings[0], parts=((1, 101),)),
        "REVERSAL_EXCEEDS", {"available": "100", "required": "101", "shortfall": "1"},
    ),
    "what is reversed already": (
        {}, lambda book: (book.reverse("2026-01-02", book.postings[0]),
                          book.reverse("2026-01-02", book.postings[0])),
        "REVERSAL_EXCEEDS", {"available": "0", "required": "1", "shortfall": "1"},
    ),
    "points of a posting of several currencies": (
        {"currencies": (CurrencyConfig("points"), CurrencyConfig("miles"))},
        lambda book: book.reverse(
            "2026-01-02", book.do("2026-01-01", Earn(5), Earn(5, "miles")), 1
        ),
        "INVALID_FIELD", {"field": "points"},
    ),
    "a redemption that would come back to more than 10^15": (
        {}, lambda book: (
            book.do("2026-01-01", Redeem(100)), book.do("2026-01-01", Adjust(POINTS_MAX, "why")),
            book.reverse("2026-01-01", book.postings[1]),
        ),
        "POINTS_OVERFLOW", {"limit": str(POINTS_MAX)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_reversal_is_refused_and_nothing_changes(name: str) -> None:
    changes, step, reason, metadata = REFUSED[name]
    book = Book(**changes)
    book.do("2026-01-01", Earn(100))

    with pytest.raises(Refusal) as refused:
        step(book)

    assert (refused.value.reason, refused.value.metadata) == (reason, metadata)
    book.check()


def test_a_failed_reward_comes_back_whatever_the_setting() -> None:
    book = Book(redemption_reversal=False)
    book.do("2026-01-01", Earn(100))
    redeemed = book.do("2026-01-01", Redeem(100))

    book.reverse("2026-01-02", redeemed)

    assert book.four() == (100, 0, 0, 0)
    book.check()


def test_a_reversal_that_is_refused_in_its_second_entry_takes_the_first_one_back() -> None:
    book = Book(**DEBT)
    posting = book.do("2026-01-01", Earn(100), Count("visits", 1), Earn(50))
    book.do("2026-01-01", Redeem(150))
    book.do("2026-01-01", Count("visits", -POINTS_MAX), Count("visits", -1))
    before = (book.four(), book.account.digest, dict(book.account.reversed))

    with pytest.raises(Refusal, match="10"):
        book.reverse("2026-01-01", posting, parts=((1, 100), (2, 1), (3, 50)))

    after = {entry: n for entry, n in book.account.reversed.items() if n}
    assert (book.four(), book.account.digest, after) == before
    book.check()

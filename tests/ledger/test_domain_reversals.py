"""Taking back earnings and counts, giving back redemptions, debt and claims."""

from collections.abc import Callable
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.ledger.domain.account import Kind
from services.ledger.domain.commands import Adjust, Count, Earn, Redeem, Reverse
from services.ledger.domain.config import (
    POINTS_MAX,
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    ReturnsPolicy,
)
from tests.ledger.domain_kit import KEY, Book, at

TEN = Expiry("ten", ExpiryKind.FIXED, days=10)
NEVER = Expiry("never", ExpiryKind.NONE)
STRATEGIES: dict[str, Any] = {"expiry": (NEVER, TEN)}
WITHIN: dict[str, Any] = {"returns_policy": ReturnsPolicy.WITHIN_BALANCE}
OWN: dict[str, Any] = {"returns_policy": ReturnsPolicy.OWN_LOTS_ONLY}
DEBT: dict[str, Any] = {"returns_policy": ReturnsPolicy.ALLOW_DEBT}
POLICIES = {"within balance": WITHIN, "own lots only": OWN, "allow debt": DEBT}


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
    "untouched": (_untouched, {name: ((0, 0, 0, 0), (100, 0, 0)) for name in POLICIES}),
    "pending": (_pending, {name: ((0, 70, 0, 0), (30, 0, 0)) for name in POLICIES}),
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
    "expired": (_expired, {name: ((70, 0, 0, 0), (0, 0, 100)) for name in POLICIES}),
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


@pytest.mark.parametrize(("name", "policy"), CASES)
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


# Redemptions


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


# No points appear


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

    # What had to be owed stays owed where what came back to repay it was dead.
    dead = back == "2026-02-01" and not grace and policy == "allow debt"
    assert book.four() == (0, 0, 0, 70 if dead else 0)
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


# Debt


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


# Refusals


def _reversal(posting: Any, **more: Any) -> Any:
    return Reverse("the posting", KEY, tuple(posting.entries), by_operator=False, **more)


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
        lambda book: book.reverse("2026-01-02", book.do("2026-01-01", Earn(5), Earn(5, "miles")), 1),
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

"""What commands do to an account, and when they are refused."""

from typing import Any

import pytest

from kernel.calendar import Period
from kernel.refusals import Refusal
from services.ledger.domain.account import Kind, Limit, State
from services.ledger.domain.commands import Adjust, Count, Earn, Expectation, Operation, Redeem
from services.ledger.domain.config import POINTS_MAX, CurrencyConfig, Expiry, ExpiryKind
from services.ledger.domain.counters import Window
from services.ledger.domain.verify import Finding, Verifier
from tests.ledger.domain_kit import ACCOUNT, BUCKET, Book, at

MONTH = Expiry("month", ExpiryKind.FIXED, months=1)
YEAR = Expiry("year", ExpiryKind.FIXED, months=12)
NEVER = Expiry("never", ExpiryKind.NONE)
STRATEGIES = {"expiry": (NEVER, MONTH, YEAR)}


def earn(points: int, expiry: str = "", mature: str | None = None, currency: str = "") -> Earn:
    return Earn(points, currency, expiry, at(mature) if mature else None)


DRAWS: dict[str, tuple[list[tuple[str, Earn]], int, list[tuple[int, int]]]] = {
    "first to expire pays first": (
        [("2026-01-01", earn(100, "year")), ("2026-01-02", earn(50, "month"))],
        70,
        [(2, 50), (1, 20)],
    ),
    "points that never expire are spent last": (
        [("2026-01-01", earn(100, "never")), ("2026-01-02", earn(50, "year"))],
        60,
        [(2, 50), (1, 10)],
    ),
    "ties go to the older earning": (
        [("2026-01-02", earn(100, "never")), ("2026-01-03", earn(100, "never"))],
        30,
        [(1, 30)],
    ),
    "pending points are not drawn": (
        [("2026-01-01", earn(100, "month", mature="2026-02-01")), ("2026-01-01", earn(9))],
        9,
        [(2, 9)],
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_lots_are_drawn(name: str) -> None:
    gifts, wanted, expected = DRAWS[name]
    book = Book(**STRATEGIES)
    for now, gift in gifts:
        book.do(now, gift)

    posting = book.do("2026-01-10", Redeem(wanted))

    assert list(posting.entries[0].draws) == expected


LIMITS: dict[str, tuple[dict[str, object], list[tuple[str, int]], list[tuple[Limit, int]]]] = {
    "the daily cap cuts": (
        {"daily_cap": 100},
        [("2026-01-01T09:00", 70), ("2026-01-01T23:59", 50)],
        [(Limit.DAILY_CAP, 20)],
    ),
    "another day has a cap of its own": (
        {"daily_cap": 100},
        [("2026-01-01", 100), ("2026-01-02", 100)],
        [],
    ),
    "the monthly cap cuts after the daily one": (
        {"daily_cap": 100, "monthly_cap": 150},
        [("2026-01-01", 100), ("2026-01-02", 120)],
        [(Limit.DAILY_CAP, 20), (Limit.MONTHLY_CAP, 50)],
    ),
    "the maximum balance cuts last": (
        {"monthly_cap": 150, "maximum_balance": 120},
        [("2026-01-01", 100), ("2026-01-02", 80)],
        [(Limit.MONTHLY_CAP, 30), (Limit.MAXIMUM_BALANCE, 30)],
    ),
    "all may be forfeited": (
        {"daily_cap": 0},
        [("2026-01-01", 10)],
        [(Limit.DAILY_CAP, 10)],
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_cut_what_is_earned_and_say_so(name: str) -> None:
    changes, gifts, expected = LIMITS[name]
    book = Book(**changes)
    for now, points in gifts:
        entry = book.do(now, Earn(points)).entries[-1]

    assert list(entry.forfeits) == expected
    assert entry.requested - entry.points == sum(points for _, points in expected)


def test_a_late_earning_counts_towards_the_cap_of_its_own_day() -> None:
    book = Book(daily_cap=100, time_zone="America/New_York")
    book.do("2026-03-02T12:00", Earn(90))
    # 04:59Z is still the first of March in New York.
    entry = book.do("2026-03-02T12:00", Earn(90), effective="2026-03-02T04:59").entries[-1]

    assert entry.points == 90


Case = tuple[dict[str, object], list[Operation], dict[str, Any], str, dict[str, str]]
REFUSED: dict[str, Case] = {
    "more than is available": (
        {}, [Redeem(101)], {}, "INSUFFICIENT_POINTS",
        {"available": "100", "required": "101", "shortfall": "1"},
    ),
    "below the minimum balance comes before the step": (
        {"minimum_balance": 200, "step": 7}, [Redeem(8)], {}, "BELOW_MINIMUM_BALANCE",
        {"available": "100", "required": "200", "shortfall": "100"},
    ),
    "no multiple of the step comes before too few points": (
        {"step": 7}, [Redeem(999)], {}, "NOT_A_MULTIPLE_OF_STEP", {"step": "7"},
    ),
    "a partial redemption of nothing": (
        {"step": 101}, [Redeem(101, allow_partial=True)], {}, "INSUFFICIENT_POINTS",
        {"available": "100", "required": "101", "shortfall": "1"},
    ),
    "a debit below zero": (
        {}, [Adjust(-101, "why")], {}, "INSUFFICIENT_POINTS",
        {"available": "100", "required": "101", "shortfall": "1"},
    ),
    "a credit above the maximum balance": (
        {"maximum_balance": 150}, [Adjust(51, "why")], {}, "LIMIT_REACHED",
        {"limit_name": "points.maximum_balance", "limit": "150", "count": "100"},
    ),
    "a balance above 10^15": (
        {}, [Earn(POINTS_MAX)], {}, "POINTS_OVERFLOW", {"limit": str(POINTS_MAX)},
    ),
    "a counter above 10^15": (
        {}, [Count("visits", POINTS_MAX), Count("visits", 1)], {}, "POINTS_OVERFLOW",
        {"limit": str(POINTS_MAX), "operation": "1"},
    ),
    "a currency that is not there": (
        {}, [Earn(1, "miles")], {}, "CURRENCY_NOT_FOUND", {"currency": "miles"},
    ),
    "a counter that is not there": (
        {}, [Count("steps", 1)], {}, "COUNTER_NOT_FOUND", {"counter": "steps"},
    ),
    "a strategy that is not there": (
        {}, [Earn(1, "", "week")], {}, "EXPIRY_STRATEGY_NOT_FOUND", {"strategy": "week"},
    ),
    "a time to come": (
        {}, [Earn(1)], {"effective": "2026-06-01T00:00:01"}, "EFFECTIVE_TIME_IN_FUTURE",
        {"now": "2026-06-01T00:00:00Z"},
    ),
    "earning after the program's end": (
        {"end": at("2026-06-01")}, [Earn(1)], {}, "PROGRAM_INACTIVE",
        {"end": "2026-06-01T00:00:00Z"},
    ),
    "redeeming after the last day of redeeming": (
        {"until": at("2026-05-01")}, [Redeem(1)], {}, "PROGRAM_INACTIVE",
        {"until": "2026-05-01T00:00:00Z"},
    ),
    "another version than was read": (
        {}, [Earn(1)], {"expected_version": 7}, "PRECONDITION_CHANGED",
        {"version": "1", "expected_version": "7"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_rule_says_no_and_nothing_changes(name: str) -> None:
    changes, operations, more, reason, metadata = REFUSED[name]
    book = Book(**changes)
    book.do("2026-01-01", Earn(100))
    before = (book.balance(), book.account.sequence, book.account.digest, book.account.version)

    with pytest.raises(Refusal) as refused:
        book.do("2026-06-01", *operations, **more)

    assert (refused.value.reason, refused.value.metadata) == (reason, metadata)
    assert before == (
        book.balance(), book.account.sequence, book.account.digest, book.account.version,
    )  # fmt: skip


def test_a_frozen_account_does_not_move_but_still_expires() -> None:
    book = Book(**STRATEGIES)
    book.do("2026-01-01", earn(100, "month"))
    book.account.state = State.FROZEN

    with pytest.raises(Refusal, match="frozen"):
        book.do("2026-03-01", Redeem(1))

    assert book.balance() == (0, 0)


def test_a_post_is_all_or_nothing() -> None:
    book = Book(currencies=(CurrencyConfig("points"), CurrencyConfig("miles")))
    book.do("2026-01-01", Earn(100))
    digest = book.account.digest

    with pytest.raises(Refusal) as refused:
        book.do("2026-01-02", Redeem(60), Earn(5, "miles"), Count("visits", 1), Redeem(60))

    assert refused.value.metadata["operation"] == "3"
    assert book.balance() == (100, 0)
    assert book.account.digest == digest
    assert [lot.free for lot in book.account.lots.values()] == [100]
    assert book.account.changed_balances == {0}
    assert sum(book.account.month(0, 2026 * 12)) == 0


def test_each_operation_sees_what_the_ones_before_it_did() -> None:
    book = Book()

    posting = book.do("2026-01-01", Earn(100), Redeem(100), Earn(7))

    assert [entry.kind for entry in posting.entries] == [Kind.EARNED, Kind.REDEEMED, Kind.EARNED]
    assert book.balance() == (7, 0)


def test_a_counter_that_was_read_otherwise_refuses() -> None:
    book = Book()
    book.do("2026-01-01", Count("visits", 2))
    window = Window("visits", Period.MONTH)

    book.do("2026-01-31", Earn(1), expect=(Expectation("visits", window, 2),))
    with pytest.raises(Refusal) as refused:
        book.do("2026-02-01", Earn(1), expect=(Expectation("visits", window, 2),))

    assert refused.value.metadata == {"counter": "visits", "expected": "2", "actual": "0"}


def _findings(book: Book) -> list[Finding]:
    verifier = Verifier(BUCKET, ACCOUNT, book.policy.zone)
    for posting in book.postings:
        for entry in posting.entries:
            verifier.read(entry, posting)
    account = book.account
    return verifier.finish(account, account.lots.values(), account.counters)


def _busy_book() -> Book:
    book = Book(**STRATEGIES)
    book.do("2026-01-01", earn(100, "month"), Count("visits", 1))
    book.do("2026-01-05", earn(40, mature="2026-02-01"))
    book.do("2026-01-10", Redeem(30))
    book.do("2026-03-01", Adjust(-10, "goodwill taken back"))
    return book


def test_an_untouched_history_verifies() -> None:
    assert _findings(_busy_book()) == []


TAMPERED: dict[str, tuple[Any, tuple[str, str]]] = {
    "points of an entry": (
        lambda book: setattr(book.postings[2].entries[0], "points", -31),
        ("entry 4", "digest"),
    ),
    "the reference of a posting": (
        lambda book: setattr(book.postings[1], "reference", "another"),
        ("entry 3", "digest"),
    ),
    "a balance": (
        lambda book: setattr(book.account.balance(0), "available", 31),
        ("balance 0", "available"),
    ),
    "what is left of a lot": (
        lambda book: setattr(book.account.lots[3], "free", 31),
        ("lot 3", "free"),
    ),
    "when a lot expires": (
        lambda book: setattr(book.account.lots[1], "expire_time", None),
        ("lot 1", "expire_time"),
    ),
    "a counter": (
        lambda book: book.account.month(0, 2026 * 12).__setitem__(0, 2),
        (f"counter 0 month {2026 * 12}", "days"),
    ),
    "the account's version": (
        lambda book: setattr(book.account, "version", 9),
        ("account", "version"),
    ),
    "a posting left out": (lambda book: book.postings.pop(2), ("entry 5", "sequence")),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_row_is_found_and_named_first(name: str) -> None:
    tamper, (row, field) = TAMPERED[name]
    book = _busy_book()
    tamper(book)

    first = _findings(book)[0]

    assert (first.row, first.field) == (row, field)

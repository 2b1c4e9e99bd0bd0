"""Holds: set aside, captured, released, lapsed; and what becomes of points that come back."""

from collections.abc import Callable
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.ledger.domain.account import HoldState, Kind
from services.ledger.domain.commands import Adjust, CreateHold, Earn, Redeem
from services.ledger.domain.config import Expiry, ExpiryKind, ReturnsPolicy
from services.ledger.domain.notices import notice_time
from tests.ledger.domain_kit import Book, at

TEN = Expiry("ten", ExpiryKind.FIXED, days=10)
TWENTY = Expiry("twenty", ExpiryKind.FIXED, days=20)
IDLE = Expiry("idle", ExpiryKind.INACTIVITY, months=1)
NEVER = Expiry("never", ExpiryKind.NONE)
STRATEGIES: dict[str, Any] = {"expiry": (NEVER, TEN, TWENTY, IDLE)}
LONG = {"expire_time": at("2026-03-01")}


def _steps(book: Book) -> list[tuple[str, int, tuple[tuple[int, int], ...]]]:
    """Kind, points and draws of every entry after the earnings."""
    return [
        (entry.kind.name, entry.points, entry.draws)
        for posting in book.postings
        for entry in posting.entries
        if entry.kind not in (Kind.ENROLLED, Kind.EARNED)
    ]


def _released_alive(book: Book) -> None:
    book.do("2026-01-01", Earn(100, expiry="ten"))
    held = book.hold("2026-01-02", 60)
    book.release("2026-01-02T00:30", held)


def _captured_in_part(book: Book) -> None:
    book.do("2026-01-01", Earn(40, expiry="ten"))
    book.do("2026-01-01", Earn(40, expiry="twenty"))
    held = book.hold("2026-01-02", 60)
    book.capture("2026-01-02T00:30", held, 50)


def _lapsed(book: Book) -> None:
    book.do("2026-01-01", Earn(100, expiry="ten"))
    book.hold("2026-01-02", 60)
    book.settle("2026-01-02T01:00")


def _held_over_its_expiry_and_released(book: Book) -> None:
    book.do("2026-01-01", Earn(100, expiry="ten"))
    held = book.hold("2026-01-02", 60, **LONG)
    book.settle("2026-01-12")
    book.release("2026-01-13", held)


def _held_over_its_expiry_and_lapsed(book: Book) -> None:
    book.do("2026-01-01", Earn(100, expiry="ten"))
    book.hold("2026-01-02", 60, expire_time=at("2026-01-15"))
    book.settle("2026-01-20")


def _lapsed_before_its_expiry_and_settled_late(book: Book) -> None:
    book.do("2026-01-01", Earn(100, expiry="ten"))
    book.hold("2026-01-02", 100, expire_time=at("2026-01-05"))
    book.settle("2026-01-20")


def _captured_after_its_expiry(book: Book) -> None:
    book.do("2026-01-01", Earn(100, expiry="ten"))
    held = book.hold("2026-01-02", 60, **LONG)
    book.capture("2026-01-13", held)


def _activity_moves_what_comes_back(book: Book) -> None:
    # Capturing is a redemption, which keeps all idle points alive; the rest comes back after it.
    book.do("2026-01-01", Earn(100, expiry="idle"))
    held = book.hold("2026-01-02", 60, **LONG)
    book.capture("2026-02-10", held, 10)


ENDS: dict[str, tuple[Callable[[Book], None], tuple[int, int, int, int], list[Any]]] = {
    "released alive": (
        _released_alive, (100, 0, 0, 0),
        [("HELD", 0, ((1, 60),)), ("RELEASED", 0, ((1, 60),))],
    ),
    "captured in part, in the order drawn; the rest is released": (
        _captured_in_part, (30, 0, 0, 0),
        [("HELD", 0, ((1, 40), (2, 20))), ("CAPTURED", -50, ((1, 40), (2, 10))),
         ("RELEASED", 0, ((2, 10),))],
    ),
    "lapsed at the deadline": (
        _lapsed, (100, 0, 0, 0), [("HELD", 0, ((1, 60),)), ("LAPSED", 0, ((1, 60),))],
    ),
    "held over its expiry and released: dead in the same posting": (
        _held_over_its_expiry_and_released, (0, 0, 0, 0),
        [("HELD", 0, ((1, 60),)), ("EXPIRED", -40, ((1, 40),)), ("RELEASED", 0, ((1, 60),)),
         ("EXPIRED", -60, ((1, 60),))],
    ),
    "held over its expiry and lapsed: dead at the deadline": (
        _held_over_its_expiry_and_lapsed, (0, 0, 0, 0),
        [("HELD", 0, ((1, 60),)), ("EXPIRED", -40, ((1, 40),)), ("LAPSED", 0, ((1, 60),)),
         ("EXPIRED", -60, ((1, 60),))],
    ),
    "lapsed before its expiry and settled late": (
        _lapsed_before_its_expiry_and_settled_late, (0, 0, 0, 0),
        [("HELD", 0, ((1, 100),)), ("LAPSED", 0, ((1, 100),)), ("EXPIRED", -100, ((1, 100),))],
    ),
    "captured after its expiry": (
        _captured_after_its_expiry, (0, 0, 0, 0),
        [("HELD", 0, ((1, 60),)), ("EXPIRED", -40, ((1, 40),)), ("CAPTURED", -60, ((1, 60),))],
    ),
    "capturing is activity": (
        _activity_moves_what_comes_back, (50, 0, 0, 0),
        [("HELD", 0, ((1, 60),)), ("EXPIRED", -40, ((1, 40),)), ("CAPTURED", -10, ((1, 10),)),
         ("RELEASED", 0, ((1, 50),))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_a_hold_ends(name: str) -> None:
    play, balance, steps = ENDS[name]
    book = Book(**STRATEGIES)

    play(book)

    assert _steps(book) == steps
    assert book.four() == balance
    book.check()


def test_what_dies_on_the_way_dies_at_its_own_instant() -> None:
    book = Book(**STRATEGIES)
    _lapsed_before_its_expiry_and_settled_late(book)

    assert [(p.effective_time, p.entries[0].kind) for p in book.postings[2:]] == [
        (at("2026-01-05"), Kind.LAPSED),
        (at("2026-01-11"), Kind.EXPIRED),
    ]


def test_points_mature_before_holds_lapse_and_lapse_before_lots_expire() -> None:
    book = Book(**STRATEGIES)
    book.do("2026-01-01", Earn(10, expiry="ten"))
    book.hold("2026-01-02", 4, expire_time=at("2026-01-11"))
    book.do("2026-01-03", Earn(7, expiry="ten", mature_time=at("2026-01-11")))

    posting = book.settle("2026-01-11")[0]

    assert [(entry.kind, entry.points) for entry in posting.entries] == [
        (Kind.MATURED, 0),
        (Kind.LAPSED, 0),
        (Kind.EXPIRED, -10),
    ]
    book.check()


def test_an_account_wakes_for_a_hold_and_for_what_comes_back() -> None:
    book = Book(**STRATEGIES)
    book.do("2026-01-01", Earn(10, expiry="ten"))
    book.settle("2026-01-01")
    held = book.hold("2026-01-02", 10)
    assert book.account.next_due_time == at("2026-01-02T01:00")
    book.settle("2026-01-02T00:10")
    assert book.account.next_due_time == at("2026-01-02T01:00")

    book.release("2026-01-02T00:20", held)
    book.settle("2026-01-02T02:00")

    assert book.account.next_due_time == at("2026-01-11")


Step = Callable[[Book], Any]
REFUSED: dict[str, tuple[dict[str, Any], Step, str, dict[str, str]]] = {
    "a hold while points are owed": (
        {}, lambda book: _owe(book, 5).hold("2026-01-02", 1), "IN_DEBT", {"debt": "5"},
    ),
    "a hold below the minimum balance": (
        {"minimum_balance": 200, "step": 7}, lambda book: book.hold("2026-01-02", 8),
        "BELOW_MINIMUM_BALANCE", {"available": "100", "required": "200", "shortfall": "100"},
    ),
    "a hold of no multiple of the step": (
        {"step": 7}, lambda book: book.hold("2026-01-02", 999), "NOT_A_MULTIPLE_OF_STEP",
        {"step": "7"},
    ),
    "a hold of more than there is": (
        {}, lambda book: book.hold("2026-01-02", 101), "INSUFFICIENT_POINTS",
        {"available": "100", "required": "101", "shortfall": "1"},
    ),
    "a hold after the last day of redeeming": (
        {"until": at("2026-01-02")}, lambda book: book.hold("2026-01-02", 1),
        "PROGRAM_INACTIVE", {"until": "2026-01-02T00:00:00Z"},
    ),
    "a hold of another currency": (
        {}, lambda book: book.hold("2026-01-02", 1, currency="miles"), "CURRENCY_NOT_FOUND",
        {"currency": "miles"},
    ),
    "a hold that ends now": (
        {}, lambda book: book.hold("2026-01-02", 1, expire_time=at("2026-01-02")),
        "INVALID_FIELD", {"field": "expire_time"},
    ),
    "a hold of more than 400 days": (
        {}, lambda book: book.hold("2026-01-02", 1, expire_time=at("2027-02-06T00:00:01")),
        "INVALID_FIELD", {"field": "expire_time"},
    ),
    "capturing more than is held": (
        {}, lambda book: book.capture("2026-01-02", book.hold("2026-01-02", 10), 11),
        "INSUFFICIENT_POINTS", {"available": "10", "required": "11", "shortfall": "1"},
    ),
    "capturing a captured hold": (
        {}, lambda book: _twice(book, book.capture, book.capture), "HOLD_CLOSED",
        {"hold": "the hold", "state": "CAPTURED"},
    ),
    "releasing a captured hold": (
        {}, lambda book: _twice(book, book.capture, book.release), "HOLD_CLOSED",
        {"hold": "the hold", "state": "CAPTURED"},
    ),
    "capturing a released hold": (
        {}, lambda book: _twice(book, book.release, book.capture), "HOLD_CLOSED",
        {"hold": "the hold", "state": "RELEASED"},
    ),
    "capturing at the deadline": (
        {}, lambda book: book.capture("2026-01-02T01:00", book.hold("2026-01-02", 10)),
        "HOLD_CLOSED", {"hold": "the hold", "state": "LAPSED"},
    ),
}  # fmt: skip


def _owe(book: Book, points: int) -> Book:
    earned = book.postings[-1]
    book.do("2026-01-01", Redeem(100))
    book.policy = Book(returns_policy=ReturnsPolicy.ALLOW_DEBT).policy
    book.reverse("2026-01-01", earned, points)
    return book


def _twice(book: Book, first: Callable[..., Any], second: Callable[..., Any]) -> None:
    held = book.hold("2026-01-02", 10)
    first("2026-01-02", held)
    second("2026-01-02", held)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hold_is_refused_and_nothing_changes(name: str) -> None:
    changes, step, reason, metadata = REFUSED[name]
    book = Book(**changes)
    book.do("2026-01-01", Earn(100))

    with pytest.raises(Refusal) as refused:
        step(book)

    assert (refused.value.reason, refused.value.metadata) == (reason, metadata)
    book.check()


def test_a_hold_of_400_days_is_one() -> None:
    book = Book()
    book.do("2026-01-01", Earn(100))

    held = book.hold("2026-01-02", 1, expire_time=at("2027-02-06"))

    assert held.hold is not None
    assert (held.hold.state, held.hold.parts) == (HoldState.OPEN, ((1, 1),))


def test_debits_leave_held_points_alone() -> None:
    book = Book()
    book.do("2026-01-01", Earn(100))
    book.hold("2026-01-02", 60)

    with pytest.raises(Refusal):
        book.do("2026-01-02", Redeem(41))
    book.do("2026-01-02", Adjust(-99, "why", allow_partial=True))

    assert book.four() == (0, 0, 60, 0)
    book.check()


def test_a_hold_that_is_refused_late_gives_back_what_it_took() -> None:
    book = Book()
    book.do("2026-01-01", Earn(100))
    digest = book.account.digest

    with pytest.raises(Refusal):
        book.do("2026-01-02", CreateHold(60), Redeem(41))

    assert book.four() == (100, 0, 0, 0)
    assert (book.account.digest, book.account.holds) == (digest, {})
    book.check()


# Notice of what will expire


def test_notice_is_given_ahead_once_an_instant_and_again_when_activity_moved_it() -> None:
    book = Book(expiry=(IDLE,), expiry_notice_days=7)
    book.do("2026-01-01", Earn(10))
    book.do("2026-01-01", Earn(20))
    assert book.account.next_due_time == at("2026-01-25")
    book.settle("2026-01-24")
    book.settle("2026-01-25")
    book.settle("2026-01-26")
    book.do("2026-01-27", Redeem(5))
    # A month has 28 days or more: too early, and never too late.
    assert book.account.next_due_time == at("2026-02-01")
    book.settle("2026-02-01")
    assert book.account.next_due_time == at("2026-02-20")
    book.settle("2026-02-20")
    book.settle("2026-02-27")

    noticed = book.entries(Kind.EXPIRY_NOTICED)
    assert [(e.effective_time, e.requested, e.expire_time, e.points) for e in noticed] == [
        (at("2026-01-25"), 30, at("2026-02-01"), 0),
        (at("2026-02-20"), 25, at("2026-02-27"), 0),
    ]
    assert book.four() == (0, 0, 0, 0)
    book.check()


def test_notice_is_given_at_maturity_where_the_days_are_few() -> None:
    book = Book(expiry=(TEN,), expiry_notice_days=30)
    book.do("2026-01-01", Earn(10, mature_time=at("2026-02-01")))
    book.do("2026-01-01", Earn(10, mature_time=at("2026-02-01")))

    posting = book.settle("2026-02-01")[0]

    assert [entry.kind for entry in posting.entries] == [
        Kind.MATURED, Kind.MATURED, Kind.EXPIRY_NOTICED,
    ]  # fmt: skip
    assert posting.entries[2].draws == ((1, 10), (2, 10))
    book.check()


def test_notice_and_expiry_that_are_recorded_late_stand_at_their_instants() -> None:
    book = Book(expiry=(TEN,), expiry_notice_days=3)
    book.do("2026-01-01", Earn(10))

    postings = book.settle("2026-06-01")

    assert [(p.effective_time, p.entries[0].kind) for p in postings] == [
        (at("2026-01-08"), Kind.EXPIRY_NOTICED),
        (at("2026-01-11"), Kind.EXPIRED),
    ]
    book.check()


def test_days_of_notice_keep_the_local_time_over_the_change_to_summer_time() -> None:
    book = Book(expiry=(TEN,), expiry_notice_days=5, time_zone="America/New_York")
    book.do("2026-03-02T15:00", Earn(10))

    lot = book.account.lots[1]

    assert notice_time(book.fold("2026-03-02T15:00"), lot) == at("2026-03-07T15:00")
    assert book.account.lots[1].expire_time == at("2026-03-12T14:00")


def test_held_points_are_told_of_when_they_come_back() -> None:
    book = Book(expiry=(TWENTY,), expiry_notice_days=10)
    book.do("2026-01-01", Earn(10))
    held = book.hold("2026-01-02", 10, expire_time=at("2026-01-15"))
    assert book.settle("2026-01-12") == []

    book.release("2026-01-13", held)
    posting = book.settle("2026-01-13")[0]

    assert [entry.kind for entry in posting.entries] == [Kind.EXPIRY_NOTICED]
    book.check()


def test_a_lot_is_told_of_once_where_a_part_of_it_was_held_and_lapsed_before() -> None:
    book = Book(expiry=(TWENTY,), expiry_notice_days=10)
    book.do("2026-01-01", Earn(10))
    book.hold("2026-01-02", 4, expire_time=at("2026-01-05"))
    book.hold("2026-01-02", 1, expire_time=at("2026-01-06"))

    posting = book.settle("2026-01-12")[-1]

    assert [entry.draws for entry in posting.entries] == [((1, 10),)]
    book.check()

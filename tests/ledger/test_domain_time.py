"""What time alone changes, and when."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from services.ledger.domain import expiry
from services.ledger.domain.account import Kind
from services.ledger.domain.commands import Adjust, Earn, Redeem
from services.ledger.domain.config import Expiry, ExpiryKind, RoundTo
from services.ledger.domain.expirations import upcoming
from tests.ledger.domain_kit import Book, at

NEW_YORK = "America/New_York"


def fixed(**given: int | RoundTo) -> Expiry:
    return Expiry("fixed", ExpiryKind.FIXED, **given)  # type: ignore[arg-type]  # a short way


INSTANTS = {
    "a month after 31 January is the last day of February": (
        fixed(months=1), "2026-01-31T10:00", "UTC", "2026-02-28T10:00",
    ),
    "two months after 31 January are 31 March": (
        fixed(months=2), "2026-01-31T10:00", "UTC", "2026-03-31T10:00",
    ),
    "a leap day's year ends on 28 February": (
        fixed(months=12), "2024-02-29", "UTC", "2025-02-28",
    ),
    "the end of the month it falls into": (
        fixed(months=1, round_to=RoundTo.MONTH), "2026-01-31T10:00", "UTC", "2026-03-01",
    ),
    "the first instant of a month is in that month": (
        fixed(months=1, round_to=RoundTo.MONTH), "2026-01-01", "UTC", "2026-03-01",
    ),
    "the end of the quarter": (
        fixed(months=1, round_to=RoundTo.QUARTER), "2026-03-15", "UTC", "2026-07-01",
    ),
    "the end of the year": (
        fixed(days=1, round_to=RoundTo.YEAR), "2026-12-31", "UTC", "2028-01-01",
    ),
    "the end of a day is local": (
        fixed(days=1, round_to=RoundTo.DAY), "2026-07-01T03:00", NEW_YORK, "2026-07-02T04:00",
    ),
    "a day over the change to summer time keeps its local time": (
        fixed(days=1), "2026-03-07T17:00", NEW_YORK, "2026-03-08T16:00",
    ),
    "a local time that is skipped moves behind the gap": (
        fixed(days=1), "2026-03-07T07:30", NEW_YORK, "2026-03-08T07:30",
    ),
    "midnight that does not exist is the first instant of the day": (
        fixed(days=1, round_to=RoundTo.DAY), "2018-11-02T12:00", "America/Sao_Paulo",
        "2018-11-04T03:00",
    ),
    "a date ends when the next local day begins": (
        Expiry("date", ExpiryKind.DATE, date=date(2026, 12, 31)), "2026-01-01", NEW_YORK,
        "2027-01-01T05:00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INSTANTS)
def test_points_expire_at(name: str) -> None:
    policy, mature, zone, expected = INSTANTS[name]

    assert expiry.expire_time(policy, at(mature), ZoneInfo(zone)) == at(expected)


def test_points_are_spendable_before_the_instant_and_dead_at_it() -> None:
    book = Book(expiry=(fixed(days=10),))
    book.do("2026-01-01", Earn(100))
    book.settle("2026-01-10T23:59:59.999999")

    assert book.balance() == (100, 0)
    posting = book.settle("2026-01-11")[0]
    assert (posting.effective_time, posting.entries[0].kind) == (at("2026-01-11"), Kind.EXPIRED)
    assert (posting.request_id, book.account.version, book.balance()) == (None, 1, (0, 0))


def test_one_entry_expires_an_instant_however_many_lots() -> None:
    book = Book(expiry=(fixed(days=10, round_to=RoundTo.DAY),))
    for hour in ("09", "10"):
        book.do(f"2026-01-01T{hour}:00", Earn(10))
    book.do("2026-01-02", Earn(10))

    postings = book.settle("2026-02-01")

    assert [(p.effective_time, len(p.entries), p.entries[0].points) for p in postings] == [
        (at("2026-01-12"), 1, -20),
        (at("2026-01-13"), 1, -10),
    ]


def test_pending_points_mature_before_anything_expires_at_the_same_instant() -> None:
    book = Book(expiry=(fixed(days=10),))
    book.do("2026-01-01", Earn(10))
    book.do("2026-01-05", Earn(7, mature_time=at("2026-01-11")))

    posting = book.settle("2026-01-11")[0]

    assert [entry.kind for entry in posting.entries] == [Kind.MATURED, Kind.EXPIRED]
    assert book.balance() == (7, 0)
    assert book.account.next_due_time == at("2026-01-21")


def test_points_that_are_dead_when_they_are_recorded_expire_in_the_same_posting() -> None:
    book = Book(expiry=(fixed(days=10),))

    posting = book.do("2026-06-01", Earn(10), effective="2026-01-01")

    assert [(entry.kind, entry.effective_time) for entry in posting.entries] == [
        (Kind.EARNED, at("2026-01-01")),
        (Kind.EXPIRED, at("2026-01-11")),
    ]
    assert book.balance() == (0, 0)


INACTIVITY = Expiry("idle", ExpiryKind.INACTIVITY, months=3)


def test_earning_and_redeeming_keep_all_points_alive_and_adjustments_do_not() -> None:
    book = Book(expiry=(INACTIVITY,))
    book.do("2026-01-01", Earn(100))
    book.do("2026-03-15", Redeem(1))
    book.do("2026-06-01", Adjust(5, "goodwill"))
    book.settle("2026-06-14T23:59")
    assert book.balance() == (104, 0)

    posting = book.settle("2026-06-15")[0]

    assert posting.effective_time == at("2026-06-15")
    assert book.balance() == (5, 0), "the goodwill's own clock began with it"


def test_activity_wakes_the_account_too_early_and_never_too_late() -> None:
    book = Book(expiry=(INACTIVITY,))
    book.do("2026-01-01", Earn(100))
    book.do("2026-03-15", Earn(1))
    assert book.account.next_due_time == at("2026-04-01")

    assert book.settle("2026-04-01") == []
    assert book.account.next_due_time == at("2026-06-15")


def test_upcoming_expirations_are_grouped_by_the_last_local_day() -> None:
    book = Book(expiry=(fixed(days=10),), time_zone=NEW_YORK)
    book.do("2026-01-01T05:00", Earn(10))
    book.do("2026-01-02T04:59", Earn(10))

    account = book.account
    found = upcoming(account.lots.values(), account.last_activity_time, book.policy.zone)

    assert [(each.date, each.expire_time, each.points) for each in found] == [
        (date(2026, 1, 10), at("2026-01-11T05:00"), 10),
        (date(2026, 1, 11), at("2026-01-12T04:59"), 10),
    ]

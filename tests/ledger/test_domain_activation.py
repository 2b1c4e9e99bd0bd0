"""Pending points matured early, and billing months."""

from datetime import date
from typing import Any

import pytest

from kernel.refusals import Refusal
from services.ledger.domain.account import Kind, Limit
from services.ledger.domain.commands import ActivatePending, Earn
from services.ledger.domain.config import (
    CurrencyConfig,
    Expiry,
    ExpiryKind,
    LimitsPeriod,
    RoundTo,
)
from services.ledger.domain.counters import billing_month
from tests.ledger.domain_kit import DEBT, KEY, Book, at

NEW_YORK = "America/New_York"
LATE = at("2026-06-01")
NOWHERE = "01890000-0000-7000-8000-000000000000"

TERMS: dict[str, tuple[Expiry, str, str, str | None]] = {
    "days from now": (
        Expiry("x", ExpiryKind.FIXED, days=10), "UTC", "2026-02-01T12:00", "2026-02-11T12:00",
    ),
    "months from now, on the last day of February": (
        Expiry("x", ExpiryKind.FIXED, months=1), "UTC", "2026-01-31T12:00", "2026-02-28T12:00",
    ),
    "months from now, to the end of the local quarter": (
        Expiry("x", ExpiryKind.FIXED, months=1, round_to=RoundTo.QUARTER), NEW_YORK,
        "2026-02-01T12:00", "2026-04-01T04:00",
    ),
    "a day over the change to summer time": (
        Expiry("x", ExpiryKind.FIXED, days=1), NEW_YORK, "2026-03-07T17:00", "2026-03-08T16:00",
    ),
    "months of inactivity from now": (
        Expiry("x", ExpiryKind.INACTIVITY, months=1), "UTC", "2026-02-01", "2026-03-01",
    ),
    "a date stays": (
        Expiry("x", ExpiryKind.DATE, date=date(2026, 12, 31)), "UTC", "2026-02-01", "2027-01-01",
    ),
    "a date before the old maturity counts again": (
        Expiry("x", ExpiryKind.DATE, date=date(2026, 3, 31)), "UTC", "2026-02-01", "2026-04-01",
    ),
    "never": (Expiry("x", ExpiryKind.NONE), "UTC", "2026-02-01", None),
}  # fmt: skip


@pytest.mark.parametrize("name", TERMS)
def test_the_clock_of_expiry_starts_when_points_mature_early(name: str) -> None:
    strategy, zone, now, expected = TERMS[name]
    book = Book(expiry=(strategy,), time_zone=zone, pending_conversion=True)
    book.do("2026-01-01", Earn(10, mature_time=LATE))

    entry = book.do(now, ActivatePending()).entries[0]

    expires = None if expected is None else at(expected)
    assert (entry.kind, entry.lot, entry.mature_time, entry.expire_time) == (
        Kind.MATURED, 1, at(now), expires,
    )  # fmt: skip
    assert book.four() == (10, 0, 0, 0)
    book.check()
    if expires is not None:
        book.settle(expected or "")
        assert book.four() == (0, 0, 0, 0)
        book.check()


def test_a_lot_that_matures_in_time_expires_as_it_was_said() -> None:
    book = Book(expiry=(Expiry("x", ExpiryKind.FIXED, months=1),), pending_conversion=True)
    entry = book.do("2026-01-01", Earn(10, mature_time=LATE)).entries[0]
    book.settle("2026-06-01")

    assert entry.expire_time == book.account.lots[1].expire_time == at("2026-07-01")
    book.check()


def test_what_is_dead_as_it_matures_dies_at_once() -> None:
    strategy = Expiry("x", ExpiryKind.DATE, date=date(2026, 3, 31))
    book = Book(expiry=(strategy,), pending_conversion=True)
    book.do("2026-01-01", Earn(10, mature_time=LATE))

    posting = book.do("2026-05-01", ActivatePending())

    assert [entry.kind for entry in posting.entries] == [Kind.MATURED, Kind.EXPIRED]
    book.check()


CHOICES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "all of the currency": ({}, [1, 2]),
    "all of another currency": ({"currency": "miles"}, [3]),
    "of a posting": ({"posting": "p", "given": (KEY, 2, 3)}, [2, 3]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_pending_points_are_chosen(name: str) -> None:
    chosen, lots = CHOICES[name]
    book = Book(
        currencies=(CurrencyConfig("points"), CurrencyConfig("miles")), pending_conversion=True
    )
    book.do("2026-01-01", Earn(10, mature_time=LATE))
    book.do("2026-01-01", Earn(20, mature_time=LATE), Earn(30, "miles", mature_time=LATE))

    posting = book.do("2026-01-02", ActivatePending(**chosen))

    assert [entry.lot for entry in posting.entries] == lots
    book.check()


def test_one_lot_is_chosen_whatever_its_currency() -> None:
    book = Book(pending_conversion=True)
    book.do("2026-01-01", Earn(10, mature_time=LATE))
    book.do("2026-01-01", Earn(20, mature_time=LATE))

    posting = book.do("2026-01-02", ActivatePending(lot=book.account.lots[2].id))

    assert [entry.lot for entry in posting.entries] == [2]
    assert book.four() == (20, 10, 0, 0)
    book.check()


def test_activated_points_repay_debt() -> None:
    book = Book(**DEBT, pending_conversion=True)
    earned = book.do("2026-01-01", Earn(50))
    book.hold("2026-01-01", 50, expire_time=at("2026-03-01"))
    book.reverse("2026-01-01", earned)
    book.do("2026-01-01", Earn(70, mature_time=LATE))

    book.do("2026-01-02", ActivatePending())

    assert book.four() == (20, 0, 50, 0)
    book.check()


REFUSED: dict[str, tuple[dict[str, Any], ActivatePending, str]] = {
    "the setting is off, before the currency": (
        {}, ActivatePending("miles"), "SETTING_OFF",
    ),
    "no such currency, before the posting": (
        {"pending_conversion": True}, ActivatePending("miles", NOWHERE), "CURRENCY_NOT_FOUND",
    ),
    "no such posting": (
        {"pending_conversion": True}, ActivatePending("", NOWHERE), "POSTING_NOT_FOUND",
    ),
    "a posting of another account": (
        {"pending_conversion": True}, ActivatePending("", NOWHERE, ((1, 1), 1, 9)),
        "POSTING_NOT_FOUND",
    ),
    "a posting that gave nothing pending": (
        {"pending_conversion": True}, ActivatePending("", NOWHERE, (KEY, 1, 1)),
        "NOTHING_PENDING",
    ),
    "nothing pending": ({"pending_conversion": True}, ActivatePending(), "NOTHING_PENDING"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_activating_is_refused_and_nothing_changes(name: str) -> None:
    changes, operation, reason = REFUSED[name]
    book = Book(**changes)
    book.do("2026-01-01", Earn(10))

    with pytest.raises(Refusal) as refused:
        book.do("2026-01-02", operation)

    assert refused.value.reason == reason
    assert book.four() == (10, 0, 0, 0)
    book.check()


# Billing months

BILLING = {
    "the day itself begins one": ("2026-05-15", 15, "2026-05-15", "2026-06-14"),
    "the day before ends one": ("2026-05-14", 15, "2026-04-15", "2026-05-14"),
    "over the year": ("2026-01-03", 20, "2025-12-20", "2026-01-19"),
    "the first is the calendar month": ("2026-02-11", 1, "2026-02-01", "2026-02-28"),
    "a short month begins on its last day": ("2026-02-28", 31, "2026-02-28", "2026-03-30"),
    "and ends before the next one's": ("2026-02-27", 31, "2026-01-31", "2026-02-27"),
    "a leap day": ("2024-02-29", 30, "2024-02-29", "2024-03-29"),
}


@pytest.mark.parametrize("name", BILLING)
def test_a_billing_month_is(name: str) -> None:
    day, billing_day, first, last = BILLING[name]

    found = billing_month(date.fromisoformat(day), billing_day)

    assert found == (date.fromisoformat(first), date.fromisoformat(last))


def test_the_monthly_cap_is_of_the_billing_month_of_the_effective_time() -> None:
    book = Book(monthly_cap=100, limits_period=LimitsPeriod.BILLING_MONTH, time_zone=NEW_YORK)
    book.account.billing_day = 15
    given = {
        "2026-05-14T12:00": (60, ()),
        "2026-05-15T03:59": (40, ((Limit.MONTHLY_CAP, 20),)),
        "2026-05-15T04:00": (60, ()),
        "2026-06-15T03:59": (40, ((Limit.MONTHLY_CAP, 20),)),
    }

    for effective, (points, forfeits) in given.items():
        entry = book.do("2026-07-01", Earn(60), effective=effective).entries[0]
        assert (entry.points, entry.forfeits) == (points, forfeits), effective
    book.check()

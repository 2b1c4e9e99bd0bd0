"""The suite's calendar against the reference model's, which walks minute by minute."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from kernel import calendar
from tests.properties import model_time
from tests.properties.effort import effort, seeded

# With gaps and repeats at, before and after midnight, of half hours, and of a whole day (Apia).
ZONES = tuple(
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Rome",
        "America/Havana",
        "Africa/Cairo",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Asia/Beirut",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
    )
)
zones = st.sampled_from(ZONES)
days = st.dates(date(1996, 1, 1), date(2036, 12, 31)) | st.sampled_from(
    (date(2011, 12, 30), date(2025, 4, 25), date(2025, 11, 2), date(2024, 2, 29))
)
EPOCH = datetime(1996, 1, 1, tzinfo=UTC)
instants = st.timedeltas(timedelta(0), timedelta(days=14_000)).map(EPOCH.__add__) | st.sampled_from(
    (
        datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
        datetime(2025, 10, 26, 1, 30, tzinfo=UTC),
        datetime(2025, 3, 29, 1, 30, tzinfo=UTC),
    )
)


@seeded
@effort(examples=300)
@given(day=days, zone=zones)
def test_days_begin_at_the_same_instant(day: date, zone: ZoneInfo) -> None:
    """Whether midnight exists once, twice or not at all."""
    assert calendar.first_instant(day, zone) == model_time.first_instant(day, zone)


@seeded
@effort(examples=500)
@given(instant=instants, months=st.integers(1, 40), zone=zones)
def test_months_end_at_the_same_instant(instant: datetime, months: int, zone: ZoneInfo) -> None:
    """Clamped to short months, and moved behind gaps."""
    ours = model_time.months_after(instant, months, zone)

    assert calendar.months_after(instant, months, zone) == ours


@seeded
@effort(examples=500)
@given(instant=instants, count=st.integers(1, 400), zone=zones)
def test_days_end_at_the_same_instant(instant: datetime, count: int, zone: ZoneInfo) -> None:
    """At the same time of day, which may be 23 or 25 hours a day away."""
    assert calendar.days_after(instant, count, zone) == model_time.days_after(instant, count, zone)


def test_a_second_half_past_two_is_moved_behind_a_gap_like_the_first() -> None:
    """From the hour that comes twice in October to the hour that is skipped in March."""
    rome = ZoneInfo("Europe/Rome")
    first = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    days_between = (date(2026, 3, 29) - date(2025, 10, 26)).days

    moved = [
        calendar.days_after(first + timedelta(hours=hour), days_between, rome) for hour in (0, 1)
    ]

    assert moved == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC)] * 2

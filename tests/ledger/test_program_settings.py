"""Settings: what may change, by mask and etag, and what is refused."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

import grpc
import pytest
from google.type import date_pb2

from chassis.database import Connection
from kernel.ids import bucket_of
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from services.ledger.store import save
from tests.ledger.programs_kit import LedgerUnderTest, at, refusal

pytestmark = pytest.mark.shared_ledger

Settings = program_pb2.ProgramSettings
General = program_pb2.GeneralSettings
Points = program_pb2.PointsSettings
Redemption = program_pb2.RedemptionSettings
Strategy = resources_pb2.ExpiryStrategy

# Where a group is given, what it leaves unsaid is at its default.
UNSAID_POINTS = Points(
    capture_source_value=True,
    rounding=Points.FLOOR,
    rounding_scope=Points.EVENT,
    earning_base=Points.AMOUNT_PAID,
)
UNSAID_REDEMPTION = Redemption(across_programs=Redemption.OFF)

NEVER = Strategy(strategy="never", kind=Strategy.NONE)
YEAR = Strategy(strategy="year", kind=Strategy.FIXED, months=12, round_to=Strategy.MONTH)
IDLE = Strategy(strategy="idle", kind=Strategy.INACTIVITY, months=6)
GALA = Strategy(strategy="gala", kind=Strategy.DATE, date=date_pb2.Date(year=2027, month=2, day=28))


async def update(ledger: LedgerUnderTest, *paths: str, **fields: Any) -> Settings:
    """Update the settings of `p1`, with the paths as the mask."""
    request = program_pb2.UpdateProgramSettingsRequest(program="p1", **fields)
    request.update_mask.paths.extend(paths)
    changed: Settings = await ledger.programs.UpdateProgramSettings(request)
    return changed


async def current(ledger: LedgerUnderTest) -> Settings:
    """The settings of `p1`."""
    request = program_pb2.GetProgramSettingsRequest(program="p1")
    found: Settings = await ledger.programs.GetProgramSettings(request)
    return found


def unchanged(settings: Settings) -> Settings:
    """Settings as they are read, without what an update says that it changed."""
    read = Settings()
    read.CopyFrom(settings)
    del read.changes[:]
    return read


async def test_a_new_program_answers_the_defaults(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    found = await current(ledger)

    assert (found.program.time_zone, found.program.currency_code) == ("UTC", "USD")
    assert not found.program.auto_enrol
    assert list(found.points.expiry) == [NEVER]
    assert not found.points.HasField("daily_cap")
    assert (found.redemption.minimum_balance, found.redemption.step) == (0, 1)
    assert found.redemption.conversion_rate == ""
    assert found.revision == 1


async def test_every_setting_is_kept_as_given(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    given = Settings(
        program=General(
            time_zone="Europe/Berlin",
            currency_code="EUR",
            auto_enrol=True,
            start=at(2026),
            end=at(2030),
        ),
        points=Points(
            maximum_balance=0,
            daily_cap=100,
            monthly_cap=10**15,
            expiry=[YEAR, IDLE, GALA, NEVER],
            default_expiry="idle",
        ),
        redemption=Redemption(
            minimum_balance=50, step=10, conversion_rate="0.000000001", until=at(2031)
        ),
    )

    changed = await update(ledger, settings=given)
    found = await current(ledger)

    given.points.MergeFrom(UNSAID_POINTS)
    given.redemption.MergeFrom(UNSAID_REDEMPTION)
    assert unchanged(changed) == found
    assert (found.program, found.points) == (given.program, given.points)
    assert found.redemption == given.redemption
    assert found.revision == 2


MASKS: dict[str, tuple[list[str], Settings, dict[str, Any]]] = {
    "without a mask what is set is changed": (
        [],
        Settings(points=Points(daily_cap=7)),
        {"daily_cap": 7, "monthly_cap": 100, "auto_enrol": True, "step": 5},
    ),
    "a path changes its field alone": (
        ["points.daily_cap"],
        Settings(points=Points(daily_cap=7, monthly_cap=8)),
        {"daily_cap": 7, "monthly_cap": 100, "auto_enrol": True, "step": 5},
    ),
    "a path that is not set goes back to its default": (
        ["points.daily_cap", "redemption.step"],
        Settings(),
        {"daily_cap": None, "monthly_cap": 100, "auto_enrol": True, "step": 1},
    ),
    "a group changes all its fields": (
        ["points"],
        Settings(points=Points(monthly_cap=8)),
        {"daily_cap": None, "monthly_cap": 8, "auto_enrol": True, "step": 5},
    ),
    "groups and paths mix": (
        ["program", "redemption.step"],
        Settings(redemption=Redemption(step=3, minimum_balance=4)),
        {"daily_cap": 50, "monthly_cap": 100, "auto_enrol": False, "step": 3},
    ),
    "zero is a limit and not the lack of one": (
        [],
        Settings(points=Points(daily_cap=0)),
        {"daily_cap": 0, "monthly_cap": 100, "auto_enrol": True, "step": 5},
    ),
}


@pytest.mark.parametrize("case", MASKS)
async def test_settings_are_changed_by_mask(ledger: LedgerUnderTest, case: str) -> None:
    paths, given, expected = MASKS[case]
    await ledger.create_program(
        "p1",
        settings=Settings(
            program=General(auto_enrol=True),
            points=Points(daily_cap=50, monthly_cap=100),
            redemption=Redemption(step=5),
        ),
    )

    found = await update(ledger, *paths, settings=given)

    points = found.points
    seen = {
        "daily_cap": points.daily_cap if points.HasField("daily_cap") else None,
        "monthly_cap": points.monthly_cap if points.HasField("monthly_cap") else None,
        "auto_enrol": found.program.auto_enrol,
        "step": found.redemption.step,
    }
    assert seen == expected
    assert found.redemption.minimum_balance == 0


REFUSED: dict[str, tuple[Settings, str, tuple[str, ...]]] = {
    "an unknown time zone": (
        Settings(program=General(time_zone="Mars/Olympus")),
        "INVALID_FIELD",
        ("settings.program.time_zone",),
    ),
    "a time zone that climbs out of its folder": (
        Settings(program=General(time_zone="../etc/passwd")),
        "INVALID_FIELD",
        ("settings.program.time_zone",),
    ),
    "a code that is no currency": (
        Settings(program=General(currency_code="ZZZ")),
        "INVALID_FIELD",
        ("settings.program.currency_code",),
    ),
    "an end that is not after the start": (
        Settings(program=General(start=at(2027), end=at(2027))),
        "INVALID_FIELD",
        ("settings.program.end",),
    ),
    "two strategies of one name": (
        Settings(points=Points(expiry=[YEAR, YEAR])),
        "INVALID_FIELD",
        ("settings.points.expiry[1].strategy",),
    ),
    "a day that the calendar has not": (
        Settings(
            points=Points(
                expiry=[
                    Strategy(
                        strategy="d",
                        kind=Strategy.DATE,
                        date=date_pb2.Date(year=2027, month=2, day=29),
                    )
                ]
            )
        ),
        "INVALID_FIELD",
        ("settings.points.expiry[0].date",),
    ),
    "a default strategy that there is not": (
        Settings(points=Points(expiry=[YEAR], default_expiry="never")),
        "EXPIRY_STRATEGY_NOT_FOUND",
        (),
    ),
    "several things at once": (
        Settings(program=General(time_zone="Nowhere", currency_code="ZZZ")),
        "INVALID_FIELD",
        ("settings.program.time_zone", "settings.program.currency_code"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_settings_that_contradict_themselves_are_refused(
    ledger: LedgerUnderTest, case: str
) -> None:
    given, reason, fields = REFUSED[case]
    await ledger.create_program("p1")

    on_update = await refusal(update(ledger, settings=given))
    on_create = await refusal(ledger.create_program("p2", settings=given))

    assert (on_update.reason, on_update.fields) == (reason, fields)
    assert (on_create.reason, on_create.fields) == (reason, fields)
    assert (await current(ledger)).revision == 1


async def test_unknown_paths_are_refused_by_name(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    for path in ("points.nothing", "poi", "revision", "etag", "points.daily_cap.x", "*", ""):
        refused = await refusal(update(ledger, path, settings=Settings()))

        assert (refused.reason, refused.fields) == ("INVALID_FIELD", ("update_mask",)), path


async def test_a_stale_etag_is_refused_and_nothing_changes(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    first = await current(ledger)
    second = await update(ledger, settings=Settings(points=Points(daily_cap=1)), etag=first.etag)

    stale = await refusal(
        update(ledger, settings=Settings(points=Points(daily_cap=2)), etag=first.etag)
    )

    assert first.etag != second.etag
    assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_STALE")
    assert stale.metadata["etag"] == second.etag
    assert (await current(ledger)) == unchanged(second)


async def test_of_many_updates_with_one_etag_one_is_applied(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    etag = (await current(ledger)).etag

    answers = await asyncio.gather(
        *[
            update(ledger, settings=Settings(points=Points(daily_cap=n)), etag=etag)
            for n in range(1, 9)
        ],
        return_exceptions=True,
    )

    applied = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(applied) == 1
    assert (await current(ledger)) == unchanged(applied[0])


@pytest.mark.own_ledger
async def test_validate_only_answers_as_if_and_writes_nothing(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")

    preview = await update(
        ledger, settings=Settings(points=Points(daily_cap=9)), validate_only=True
    )
    refused = await refusal(
        update(ledger, settings=Settings(program=General(time_zone="No")), validate_only=True)
    )

    assert (preview.points.daily_cap, preview.revision) == (9, 2)
    assert refused.reason == "INVALID_FIELD"
    assert (await current(ledger)).revision == 1
    assert await ledger.rows.fetchval("SELECT count(*) FROM program_change") == 1


async def test_what_equals_the_settings_in_force_is_no_revision(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", settings=Settings(points=Points(daily_cap=9)))

    found = await update(ledger, settings=Settings(points=Points(daily_cap=9)))

    assert found.revision == 1


@pytest.mark.own_ledger
async def test_the_first_posting_fixes_the_time_zone_and_nothing_else(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    await update(ledger, settings=Settings(program=General(time_zone="Asia/Tokyo")))
    await ledger.rows.execute("UPDATE program SET posted = true")

    refused = await refusal(
        update(ledger, settings=Settings(program=General(time_zone="Asia/Seoul")))
    )
    same = await update(
        ledger, settings=Settings(program=General(time_zone="Asia/Tokyo", currency_code="JPY"))
    )

    assert (refused.code, refused.reason, refused.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SETTING_FIXED",
        {"field": "program.time_zone"},
    )
    assert same.program.currency_code == "JPY"


async def test_a_strategy_that_a_currency_names_cannot_be_removed(ledger: LedgerUnderTest) -> None:
    await ledger.create_program(
        "p1",
        settings=Settings(
            points=Points(expiry=[NEVER, YEAR]),
            currencies=program_pb2.CurrenciesSettings(alternate=True),
        ),
    )
    await ledger.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(
            program="p1", currency_id="miles", currency=program_pb2.Currency(expiry="year")
        )
    )

    refused = await refusal(update(ledger, settings=Settings(points=Points(expiry=[NEVER]))))
    changed = await update(ledger, settings=Settings(points=Points(expiry=[YEAR])))

    assert (refused.reason, refused.metadata) == (
        "EXPIRY_STRATEGY_NOT_FOUND",
        {"strategy": "year"},
    )
    assert list(changed.points.expiry) == [YEAR]


@pytest.mark.own_ledger
async def test_no_posting_is_decided_in_a_time_zone_that_is_changed_meanwhile(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.create_program("p1", settings=Settings(program=General(auto_enrol=True)))
    slow, quick = [
        next(f"m{n}" for n in range(99) if bucket_of("acme", f"m{n}", 8) % 2 == lane)
        for lane in (0, 1)
    ]
    mark_posted = save.mark_posted
    decided, goes_on = asyncio.Event(), asyncio.Event()

    async def pausing(connection: Connection, programs: Iterable[int]) -> dict[int, int]:
        if not decided.is_set():
            decided.set()
            await goes_on.wait()
        return await mark_posted(connection, programs)

    def earn(member: str) -> Awaitable[Any]:
        request = ledger_pb2.EarnRequest(program="p1", member=member, request_id="r", points=1)
        answer: Awaitable[Any] = ledger.points.Earn(request)
        return answer

    monkeypatch.setattr(save, "mark_posted", pausing)
    first = asyncio.ensure_future(earn(slow))
    await asyncio.wait_for(decided.wait(), 10)
    await update(ledger, settings=Settings(program=General(time_zone="Asia/Tokyo")))
    await earn(quick)
    goes_on.set()
    await first
    revisions = await ledger.rows.fetch("SELECT revision FROM posting")

    assert [row["revision"] for row in revisions] == [2, 2]

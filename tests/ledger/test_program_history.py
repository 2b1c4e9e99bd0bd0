"""Settings over time: who changed what, and going back."""

from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from tests.ledger.programs_kit import LedgerUnderTest, refusal

pytestmark = pytest.mark.shared_ledger

Settings = program_pb2.ProgramSettings
General = program_pb2.GeneralSettings
Points = program_pb2.PointsSettings
Transfer = program_pb2.TransferSettings
SEVERAL = Settings(currencies=program_pb2.CurrenciesSettings(alternate=True))


async def update(ledger: LedgerUnderTest, *paths: str, **fields: Any) -> Settings:
    """Update the settings of `p1`, with the paths as the mask."""
    request = program_pb2.UpdateProgramSettingsRequest(program="p1", **fields)
    request.update_mask.paths.extend(paths)
    changed: Settings = await ledger.programs.UpdateProgramSettings(request)
    return changed


async def restore(ledger: LedgerUnderTest, revision: int, **fields: Any) -> Settings:
    """Restore a revision of the settings of `p1`."""
    restored: Settings = await ledger.programs.RestoreSettingsRevision(
        program_pb2.RestoreSettingsRevisionRequest(program="p1", revision=revision, **fields)
    )
    return restored


async def revisions(ledger: LedgerUnderTest, **fields: Any) -> Any:
    """One page of the revisions of `p1`."""
    return await ledger.programs.ListSettingsRevisions(
        program_pb2.ListSettingsRevisionsRequest(program="p1", **fields)
    )


def told(changes: Any) -> dict[str, tuple[Any, Any]]:
    """Changes by path: before and after."""
    return {
        each.path: (json_format.MessageToDict(each.before), json_format.MessageToDict(each.after))
        for each in changes
    }


@pytest.mark.own_ledger
async def test_the_history_says_who_changed_what_from_what_newest_first(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1", settings=SEVERAL)
    await update(
        ledger,
        settings=Settings(points=Points(daily_cap=5), transfer=Transfer(enabled=True)),
        reason="spring",
    )
    await ledger.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(program="p1", currency_id="miles")
    )
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p1", counter_id="visits")
    )
    await update(ledger, "points.daily_cap", settings=Settings(), reason="autumn")
    rows = await ledger.rows.fetch("SELECT record_time FROM program_revision ORDER BY revision")

    page = await revisions(ledger)

    seen = [(each.revision, each.actor, each.reason, told(each.changes)) for each in page.revisions]
    assert seen == [
        (5, "tester", "autumn", {"points.daily_cap": ("5", None)}),
        (4, "tester", "counter visits", {}),
        (3, "tester", "currency miles", {}),
        (
            2,
            "tester",
            "spring",
            {"points.daily_cap": (None, "5"), "transfer.enabled": (False, True)},
        ),
        (1, "tester", "created", {"currencies.alternate": (False, True)}),
    ]
    times = [each.record_time.ToMicroseconds() for each in reversed(page.revisions)]
    assert times == [int(row["record_time"].timestamp() * 1_000_000) for row in rows]
    assert page.next_page_token == ""


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_the_history_is_paged_and_no_page_forgets_the_one_before(
    ledger: LedgerUnderTest, size: int
) -> None:
    await ledger.create_program("p1")
    for cap in range(1, 7):
        await update(ledger, settings=Settings(points=Points(daily_cap=cap)))
    whole = (await revisions(ledger)).revisions

    found: list[Any] = []
    token = ""
    while True:
        page = await revisions(ledger, page_size=size, page_token=token)
        assert len(page.revisions) <= size
        found += page.revisions
        token = page.next_page_token
        if not token:
            break

    assert found == list(whole)
    assert [each.revision for each in found] == [7, 6, 5, 4, 3, 2, 1]
    assert told(found[0].changes) == {"points.daily_cap": ("5", "6")}


async def test_a_page_token_of_another_program_is_refused(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    await update(ledger, settings=Settings(points=Points(daily_cap=1)))
    token = (await revisions(ledger, page_size=1)).next_page_token

    refused = await refusal(
        ledger.programs.ListSettingsRevisions(
            program_pb2.ListSettingsRevisionsRequest(program="p2", page_size=1, page_token=token)
        )
    )
    unknown = await refusal(
        ledger.programs.ListSettingsRevisions(
            program_pb2.ListSettingsRevisionsRequest(program="p3")
        )
    )

    assert (refused.reason, unknown.reason) == ("INVALID_PAGE_TOKEN", "PROGRAM_NOT_FOUND")


async def test_restoring_is_a_new_revision_of_old_settings(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", settings=SEVERAL)
    old = await update(
        ledger,
        settings=Settings(points=Points(daily_cap=5), kpis=program_pb2.KpisSettings(enabled=False)),
    )
    await ledger.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(program="p1", currency_id="miles")
    )
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p1", counter_id="visits")
    )
    await update(
        ledger, "points", "kpis", settings=Settings(points=Points(monthly_cap=9)), reason="oops"
    )

    preview = await restore(ledger, 2, validate_only=True)
    between = await ledger.programs.GetProgramSettings(
        program_pb2.GetProgramSettingsRequest(program="p1")
    )
    restored = await restore(ledger, 2, etag=between.etag, reason="back to spring")
    again = await restore(ledger, 2)
    newest = (await revisions(ledger, page_size=1)).revisions[0]
    currencies = await ledger.programs.ListCurrencies(
        program_pb2.ListCurrenciesRequest(program="p1")
    )
    counters = await ledger.programs.ListCounters(program_pb2.ListCountersRequest(program="p1"))

    changes = {
        "points.daily_cap": (None, "5"),
        "points.monthly_cap": ("9", None),
        "kpis.enabled": (True, False),
    }
    assert preview == restored
    assert told(restored.changes) == told(newest.changes) == changes
    assert (between.revision, restored.revision, newest.reason) == (5, 6, "back to spring")
    assert (again.revision, len(again.changes)) == (6, 0)
    assert [each.currency for each in currencies.currencies] == ["points", "miles"]
    assert [each.counter for each in counters.counters] == ["visits"]
    for settings in (restored, old):
        settings.ClearField("revision")
        settings.ClearField("etag")
        settings.ClearField("changes")
    assert restored == old


async def test_what_cannot_be_restored_is_refused_in_this_order(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", settings=Settings(program=General(auto_enrol=True)))
    first = await update(ledger, settings=Settings(program=General(time_zone="Asia/Tokyo")))
    await ledger.points.Earn(
        ledger_pb2.EarnRequest(program="p1", member="ada", request_id="r", points=1)
    )

    unknown = await refusal(
        ledger.programs.RestoreSettingsRevision(
            program_pb2.RestoreSettingsRevisionRequest(program="p2", revision=1)
        )
    )
    stale = await refusal(restore(ledger, 99, etag="settings-1"))
    missing = await refusal(restore(ledger, 3, etag=first.etag))
    malformed = await refusal(restore(ledger, 0))
    fixed = await refusal(restore(ledger, 1))

    assert unknown.reason == "PROGRAM_NOT_FOUND"
    assert (stale.reason, stale.metadata) == ("ETAG_STALE", {"etag": "settings-2"})
    assert (missing.code, missing.reason, missing.metadata) == (
        grpc.StatusCode.NOT_FOUND,
        "REVISION_NOT_FOUND",
        {"revision": "3"},
    )
    assert (malformed.reason, malformed.fields) == ("INVALID_FIELD", ("revision",))
    assert (fixed.reason, fixed.metadata) == ("SETTING_FIXED", {"field": "program.time_zone"})


async def test_a_revision_without_the_currencies_of_now_is_not_restored(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    year = {"strategy": "year", "kind": "FIXED", "months": 12}
    await update(ledger, settings=SEVERAL)
    await update(ledger, settings=Settings(points=Points(expiry=[year])))  # type: ignore[list-item]
    await ledger.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(
            program="p1", currency_id="miles", currency=program_pb2.Currency(expiry="year")
        )
    )

    alone = await refusal(restore(ledger, 1))
    nameless = await refusal(restore(ledger, 2))
    same = await restore(ledger, 3)

    assert (alone.reason, alone.metadata) == ("SETTING_FIXED", {"field": "currencies.alternate"})
    assert (nameless.reason, nameless.metadata) == (
        "EXPIRY_STRATEGY_NOT_FOUND",
        {"strategy": "year"},
    )
    assert same.revision == 4

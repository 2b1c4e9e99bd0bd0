"""Organizations and programs: creating, reading, listing, renaming; who sees them."""

import asyncio
from typing import Any

import grpc
import pytest

from loyalty.ledger.v1 import program_pb2
from testkit.keys import metadata, token
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest, at, ledger_under_test, refusal

pytestmark = pytest.mark.shared_ledger


@pytest.mark.own_ledger
async def test_an_organization_is_registered_once_and_answered_again_for_an_equal_request(
    ledger: LedgerUnderTest,
) -> None:
    again = program_pb2.CreateOrganizationRequest(
        organization="acme", settings=program_pb2.OrganizationSettings(multiple_programs=True)
    )
    different = program_pb2.CreateOrganizationRequest(organization="acme")

    first, second = await asyncio.gather(
        ledger.programs.CreateOrganization(again), ledger.programs.CreateOrganization(again)
    )
    refused = await refusal(ledger.programs.CreateOrganization(different))

    assert first == second
    assert first.organization == "acme"
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "ORGANIZATION_EXISTS",
    )


@pytest.mark.own_ledger
async def test_only_a_platform_operator_registers_organizations(ledger: LedgerUnderTest) -> None:
    request = program_pb2.CreateOrganizationRequest(organization="other")
    credential = metadata(token(scopes=["programs:write", "programs:read"]))

    refused = await refusal(ledger.programs.CreateOrganization(request, metadata=credential))

    assert (refused.reason, refused.metadata["scope"]) == ("SCOPE_MISSING", "platform")


@pytest.mark.own_ledger
async def test_an_organization_that_is_not_registered_has_nothing(ledger: LedgerUnderTest) -> None:
    credential = metadata(token(organization="nobody"))
    calls = {
        "get": ledger.programs.GetOrganization(
            program_pb2.GetOrganizationRequest(), metadata=credential
        ),
        "update": ledger.programs.UpdateOrganization(
            program_pb2.UpdateOrganizationRequest(organization=program_pb2.Organization()),
            metadata=credential,
        ),
        "create a program": ledger.programs.CreateProgram(
            program_pb2.CreateProgramRequest(program="p"), metadata=credential
        ),
    }

    reasons = {name: (await refusal(call)).reason for name, call in calls.items()}

    assert set(reasons.values()) == {"ORGANIZATION_NOT_FOUND"}, reasons


@pytest.mark.own_ledger
async def test_an_organization_is_changed_by_mask_and_etag(ledger: LedgerUnderTest) -> None:
    before = await ledger.programs.GetOrganization(program_pb2.GetOrganizationRequest())
    off = program_pb2.UpdateOrganizationRequest(
        organization=program_pb2.Organization(), etag=before.etag
    )
    off.update_mask.paths.append("settings.multiple_programs")

    after = await ledger.programs.UpdateOrganization(off)
    stale = await refusal(ledger.programs.UpdateOrganization(off))
    off.update_mask.paths[:] = ["settings.nothing"]
    unknown = await refusal(ledger.programs.UpdateOrganization(off))

    assert before.settings.multiple_programs
    assert not after.settings.multiple_programs
    assert before.etag != after.etag
    assert (stale.reason, stale.code) == ("ETAG_STALE", grpc.StatusCode.ABORTED)
    assert (unknown.reason, unknown.fields) == ("INVALID_FIELD", ("update_mask",))


async def test_a_program_starts_with_its_default_currency(ledger: LedgerUnderTest) -> None:
    plain = await ledger.create_program("plain")
    miles = await ledger.create_program(
        "miles", currency_id="miles", currency=program_pb2.Currency(scale=2, display_name="Miles")
    )

    listed = await ledger.programs.ListCurrencies(
        program_pb2.ListCurrenciesRequest(program="miles")
    )

    assert (plain.currency, plain.revision, plain.sandbox) == ("points", 1, False)
    assert miles.currency == "miles"
    assert [(c.currency, c.scale, c.display_name) for c in listed.currencies] == [
        ("miles", 2, "Miles")
    ]


async def test_creating_again_is_answered_if_everything_given_is_equal(
    ledger: LedgerUnderTest,
) -> None:
    fields: dict[str, Any] = {
        "display_name": "Sandbox",
        "sandbox": True,
        "start_time": at(2026),
        "settings": program_pb2.ProgramSettings(
            points=program_pb2.PointsSettings(daily_cap=5),
        ),
    }
    created = await ledger.create_program("p1", **fields)
    rename = program_pb2.UpdateProgramRequest(
        program="p1", changes=program_pb2.Program(display_name="Renamed")
    )
    await ledger.programs.UpdateProgram(rename)
    advance = program_pb2.AdvanceClockRequest(program="p1", time=at(2027))
    await ledger.programs.AdvanceClock(advance)

    again = await ledger.create_program("p1", **fields)
    differences: list[dict[str, Any]] = [
        {"display_name": "Other"},
        {"sandbox": False, "start_time": None},
        {"start_time": at(2027)},
        {"currency_id": "miles"},
        {"settings": None},
    ]
    reasons = [
        (await refusal(ledger.create_program("p1", **(fields | different)))).reason
        for different in differences
    ]

    assert created.display_name == "Sandbox"
    assert (again.display_name, again.now) == ("Renamed", at(2027))
    assert again.create_time == created.create_time
    assert reasons == ["PROGRAM_EXISTS"] * len(differences)


@pytest.mark.own_ledger
async def test_many_equal_creations_at_once_make_one_program(ledger: LedgerUnderTest) -> None:
    created = await asyncio.gather(*[ledger.create_program("p1") for _ in range(8)])

    count = await ledger.rows.fetchval("SELECT count(*) FROM program")

    assert len({program.create_time.ToMicroseconds() for program in created}) == 1
    assert count == 1


async def test_without_multiple_programs_one_of_two_created_at_once_is_refused(
    ledger_database: TestDatabase,
) -> None:
    async with ledger_under_test(ledger_database) as ledger:
        await ledger.create_organization(many=False)
        sandboxes = await asyncio.gather(
            *[ledger.create_program(f"sandbox{n}", sandbox=True) for n in range(2)]
        )

        answers = await asyncio.gather(
            *[ledger.create_program(f"p{n}") for n in range(4)], return_exceptions=True
        )
        later = await refusal(ledger.create_program("later"))

        created = [answer for answer in answers if not isinstance(answer, BaseException)]
        again = await ledger.create_program(created[0].program)

    assert len(sandboxes) == 2
    assert len(created) == 1
    assert (later.code, later.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "LIMIT_REACHED",
    )
    assert later.metadata == {"limit_name": "multiple_programs", "limit": "1", "count": "1"}
    assert "unless its setting multiple_programs is on" in later.message
    assert again == created[0] or again.create_time == created[0].create_time


async def test_a_start_time_needs_a_sandbox(ledger: LedgerUnderTest) -> None:
    refused = await refusal(ledger.create_program("p1", start_time=at(2026)))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ("start_time",))


async def test_a_sandbox_without_a_start_time_starts_now_and_stands_still(
    ledger: LedgerUnderTest,
) -> None:
    created = await ledger.create_program("p1", sandbox=True)
    await asyncio.sleep(0.01)
    later = await ledger.programs.GetProgram(program_pb2.GetProgramRequest(program="p1"))

    assert created.now == created.create_time == later.now


@pytest.mark.own_ledger
async def test_no_program_is_seen_by_another_organization(ledger: LedgerUnderTest) -> None:
    await ledger.create_organization("rival")
    await ledger.create_program("p1", sandbox=True)
    credential = metadata(token(organization="rival"))
    requests = {
        "GetProgram": program_pb2.GetProgramRequest(program="p1"),
        "UpdateProgram": program_pb2.UpdateProgramRequest(
            program="p1", changes=program_pb2.Program(display_name="mine")
        ),
        "CreateCurrency": program_pb2.CreateCurrencyRequest(program="p1", currency_id="c"),
        "ListCurrencies": program_pb2.ListCurrenciesRequest(program="p1"),
        "CreateCounter": program_pb2.CreateCounterRequest(program="p1", counter_id="c"),
        "ListCounters": program_pb2.ListCountersRequest(program="p1"),
        "AdvanceClock": program_pb2.AdvanceClockRequest(program="p1", time=at(2100)),
        "GetProgramSettings": program_pb2.GetProgramSettingsRequest(program="p1"),
        "UpdateProgramSettings": program_pb2.UpdateProgramSettingsRequest(
            program="p1", settings=program_pb2.ProgramSettings()
        ),
    }

    reasons = {
        method: (
            await refusal(getattr(ledger.programs, method)(request, metadata=credential))
        ).reason
        for method, request in requests.items()
    }
    listed = await ledger.programs.ListPrograms(
        program_pb2.ListProgramsRequest(), metadata=credential
    )

    assert set(reasons.values()) == {"PROGRAM_NOT_FOUND"}, reasons
    assert not listed.programs


@pytest.mark.parametrize("size", [1, 2, 3, 5, 0])
async def test_programs_are_listed_by_id_whatever_the_page_size(
    ledger: LedgerUnderTest, size: int
) -> None:
    names = ["c", "a", "e", "b", "d"]
    for name in names:
        await ledger.create_program(name)

    found: list[str] = []
    request = program_pb2.ListProgramsRequest(page_size=size)
    for _ in range(10):
        page = await ledger.programs.ListPrograms(request)
        found += [program.program for program in page.programs]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert found == sorted(names)


@pytest.mark.own_ledger
async def test_a_page_token_of_another_organization_is_refused(ledger: LedgerUnderTest) -> None:
    await ledger.create_organization("rival")
    await ledger.create_program("a")
    await ledger.create_program("b")
    page = await ledger.programs.ListPrograms(program_pb2.ListProgramsRequest(page_size=1))
    credential = metadata(token(organization="rival"))

    refused = await refusal(
        ledger.programs.ListPrograms(
            program_pb2.ListProgramsRequest(page_size=1, page_token=page.next_page_token),
            metadata=credential,
        )
    )

    assert refused.reason == "INVALID_PAGE_TOKEN"


async def test_a_program_is_renamed_by_mask_and_etag(ledger: LedgerUnderTest) -> None:
    created = await ledger.create_program("p1", display_name="One")
    request = program_pb2.UpdateProgramRequest(
        program="p1", changes=program_pb2.Program(display_name="Two"), etag=created.etag
    )

    renamed = await ledger.programs.UpdateProgram(request)
    stale = await refusal(ledger.programs.UpdateProgram(request))
    request.update_mask.paths.append("sandbox")
    request.etag = ""
    unknown = await refusal(ledger.programs.UpdateProgram(request))
    request.update_mask.paths[:] = ["display_name"]
    request.changes.display_name = ""
    cleared = await ledger.programs.UpdateProgram(request)

    assert (renamed.display_name, renamed.revision) == ("Two", created.revision)
    assert renamed.etag != created.etag
    assert stale.reason == "ETAG_STALE"
    assert (unknown.reason, unknown.fields) == ("INVALID_FIELD", ("update_mask",))
    assert cleared.display_name == ""

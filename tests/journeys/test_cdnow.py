"""Real purchases go in; points, expiries, tiers and audiences come out, of every member.

The file is named by CDNOW_CSV. Of it, the purchases of every CDNOW_EVERY-th member are imported;
`make test-long` imports all of them.
"""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceStub
from loyalty.client import AsyncClient
from tests.journeys.cdnow_kit import (
    FILE,
    Purchase,
    Standing,
    expected,
    make_program,
    needs_file,
    read_purchases,
    write_sample,
)
from tests.journeys.cdnow_suite import (
    Suite,
    members_of,
    running_suite,
    standings_of,
    versions_of,
)
from tests.loyalty.import_kit import finished, totals

EVERY = int(os.environ.get("CDNOW_EVERY") or 20)
TIMEOUT_S = 1800 if EVERY == 1 else 240
PROGRAM = "cdnow"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S), needs_file]


@dataclass(frozen=True)
class Imported:
    """The file, what has to come of it, and what the command said."""

    file: Path
    purchases: list[Purchase]
    standings: dict[str, Standing]
    totals: dict[str, int]


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with running_suite() as suite:
        yield suite


@pytest.fixture(scope="module")
async def client(suite: Suite) -> AsyncIterator[AsyncClient]:
    async with suite.client() as client:
        yield client


@pytest.fixture(scope="module")
async def imported(
    suite: Suite, client: AsyncClient, tmp_path_factory: pytest.TempPathFactory
) -> Imported:
    file = tmp_path_factory.mktemp("cdnow") / "purchases.csv"
    write_sample(FILE, file, EVERY)
    await make_program(client, PROGRAM)
    done = finished(suite.begin_import(file, PROGRAM), TIMEOUT_S)
    print(done.stdout)
    purchases = read_purchases(file)

    assert done.returncode == 0, done.stderr
    return Imported(file, purchases, expected(purchases), totals(done.stdout))


def test_the_file_gives_a_point_for_every_whole_dollar(imported: Imported) -> None:
    assert imported.totals == {
        "rows": len(imported.purchases),
        "events taken in": len(imported.purchases),
        "replayed, in before": 0,
        "points given": sum(int(purchase.amount) for purchase in imported.purchases),
    }


def test_the_whole_file_is_known(imported: Imported) -> None:
    if EVERY != 1:
        pytest.skip("a sample is imported; `make test-long` imports all")

    assert len(imported.standings) == 23_570
    assert imported.totals["rows"] == 69_659
    assert imported.totals["points given"] == 2_453_159


async def test_balances_expirations_and_tiers_of_every_member_follow_from_the_file(
    imported: Imported, client: AsyncClient
) -> None:
    members = await members_of(client, PROGRAM)
    found = await standings_of(client, PROGRAM, members)
    tiers = {standing.tier for standing in found.values()}
    wrong = {
        member: (standing, found.get(member))
        for member, standing in imported.standings.items()
        if standing != found.get(member)
    }

    assert len(members) == len(found) == len(imported.standings)
    assert dict(list(wrong.items())[:5]) == {}
    assert tiers == {"bronze", "silver", "gold"}
    assert any(standing.expired for standing in found.values())


async def test_audiences_hold_whom_the_file_puts_there(
    imported: Imported, client: AsyncClient
) -> None:
    gold, rich = await _audiences(client)

    assert gold == sorted(
        member for member, standing in imported.standings.items() if standing.tier == "gold"
    )
    assert rich == sorted(
        member for member, standing in imported.standings.items() if standing.available >= 100
    )


async def _audiences(client: AsyncClient) -> list[list[str]]:
    """The members of two audiences: gold, and a hundred points or more."""
    field = audience_pb2.AudienceCriterion.Field
    wanted = {
        "gold": audience_pb2.AudienceCriterion(field=field.TIER, tiers=["gold"]),
        "rich": audience_pb2.AudienceCriterion(field=field.AVAILABLE, minimum=100),
    }
    stub = client.stub(AudienceServiceStub)
    found = []
    for name, criterion in wanted.items():
        audience = audience_pb2.Audience(criteria=[criterion])
        await stub.CreateAudience(
            audience_pb2.CreateAudienceRequest(program=PROGRAM, audience_id=name, audience=audience)
        )
        request = audience_pb2.ListAudienceMembersRequest(
            program=PROGRAM, audience=name, page_size=1000
        )
        members: list[str] = []
        while True:
            answer = await stub.ListAudienceMembers(request)
            members += answer.members
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        found.append(members)
    return found


async def test_the_ledger_agrees_with_itself(imported: Imported, suite: Suite) -> None:
    done = suite.command("verify", PROGRAM)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"accounts {len(imported.standings):,}" in done.stdout


async def test_a_second_import_changes_nothing(
    imported: Imported, suite: Suite, client: AsyncClient
) -> None:
    members = sorted(imported.standings)
    before = await versions_of(client, PROGRAM, members)
    done = finished(suite.begin_import(imported.file, PROGRAM), TIMEOUT_S)
    print(done.stdout)

    assert done.returncode == 0, done.stderr
    assert totals(done.stdout) == {
        "rows": len(imported.purchases),
        "events taken in": 0,
        "replayed, in before": len(imported.purchases),
        "points given before": imported.totals["points given"],
    }
    assert await versions_of(client, PROGRAM, members) == before
    assert len(await members_of(client, PROGRAM)) == len(members)

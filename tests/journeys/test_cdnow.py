"""Real purchases go in; points, expiries, tiers and audiences come out, of every member.

The file is named by CDNOW_CSV. Of it, the purchases of every CDNOW_EVERY-th member are imported;
`make test-long` imports all of them.
"""

import os
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
    disagreements,
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
TIMEOUT_S = 1800 if EVERY == 1 else 400
PROGRAM = "cdnow"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S), needs_file]


@dataclass(frozen=True)
class Imported:
    """The file, what has to come of it, and what the command said."""

    file: Path
    purchases: list[Purchase]
    standings: dict[str, Standing]
    totals: dict[str, int]


async def test_every_members_points_expiries_tiers_and_audiences_follow_from_the_file(
    tmp_path: Path,
) -> None:
    # One test: the parts rest on one import, which two workers would both have to do.
    file = tmp_path / "purchases.csv"
    write_sample(FILE, file, EVERY)
    purchases = read_purchases(file)
    with running_suite() as suite:
        async with suite.client() as client:
            await make_program(client, PROGRAM)
            done = finished(suite.begin_import(file, PROGRAM), TIMEOUT_S)
            print(done.stdout)
            assert done.returncode == 0, done.stderr
            imported = Imported(file, purchases, expected(purchases), totals(done.stdout))

            check_the_totals(imported)
            await check_every_member(imported, client)
            await check_the_audiences(imported, client)
            check_that_the_ledger_agrees_with_itself(imported, suite)
            await check_that_a_second_import_changes_nothing(imported, suite, client)


def check_the_totals(imported: Imported) -> None:
    gross = sum(int(purchase.amount) for purchase in imported.purchases)

    assert imported.totals == {
        "rows": len(imported.purchases),
        "events taken in": len(imported.purchases),
        "replayed, in before": 0,
        "points given": gross,
    }
    if EVERY == 1:
        assert (len(imported.standings), len(imported.purchases)) == (23_570, 69_659)
        assert gross == 2_453_159


async def check_every_member(imported: Imported, client: AsyncClient) -> None:
    members = await members_of(client, PROGRAM)
    found = await standings_of(client, PROGRAM, members)
    wrong = disagreements(imported.standings, found)

    assert len(members) == len(found) == len(imported.standings)
    assert dict(list(wrong.items())[:5]) == {}
    assert {standing.tier for standing in found.values()} == {"bronze", "silver", "gold"}
    assert sum(standing.earned for standing in found.values()) == imported.totals["points given"]
    assert any(standing.expired for standing in found.values())


async def check_the_audiences(imported: Imported, client: AsyncClient) -> None:
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


def check_that_the_ledger_agrees_with_itself(imported: Imported, suite: Suite) -> None:
    signed = suite.command("checkpoint")
    file, key = suite.home / "checkpoints/checkpoints.jsonl", suite.home / "checkpoint.pub"
    proof = ("--checkpoints", str(file), "--public-key", str(key))
    done = suite.command("verify", PROGRAM, *proof)

    assert signed.returncode == 0, signed.stdout + signed.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"accounts {len(imported.standings):,}" in done.stdout


async def check_that_a_second_import_changes_nothing(
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

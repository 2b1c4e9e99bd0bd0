"""`loyalty members import` and `export` as processes, against a ledger that is one too."""

import asyncio
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2, resources_pb2
from testkit.postgres import TestPostgres
from tests.ledger.programs_kit import at
from tests.loyalty.import_kit import COMMAND, ROOT, finished
from tests.properties.ledger_process import Cluster

MEMBERS = 5000
# What an import leaves, without ids and record times, which differ from one run to the next.
_BOOKS = """
SELECT d.member, a.enrol_time, a.billing_day, a.version, a.sequence,
    (SELECT array_agg((l.points, l.free, l.earn_time, l.expire_time, l.expiry_kind)::text
        ORDER BY l.sequence) FROM lot l WHERE l.bucket = a.bucket AND l.account = a.id)::text,
    (SELECT array_agg((e.kind, e.points, e.available, e.effective_time, e.reason)::text
        ORDER BY e.sequence) FROM entry e WHERE e.bucket = a.bucket AND e.account = a.id)::text,
    (SELECT count(*) FROM identifier i WHERE i.bucket = a.bucket AND i.person = a.person)
FROM account a JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
ORDER BY d.member
"""


@pytest.fixture
def clusters(postgres: TestPostgres) -> Iterator[list[Cluster]]:
    """Two ledgers, each over a database of its own, with the sandbox `s`."""
    made: list[Cluster] = []
    try:
        for _ in range(2):
            cluster = Cluster(postgres.fresh("ledger"))
            made.append(cluster)
            ledger = cluster.start().connect()
            ledger.register("acme")
            request = program_pb2.CreateProgramRequest(
                program="s", sandbox=True, start_time=at(2026, 6)
            )
            request.settings.points.expiry.add(strategy="year", kind="FIXED", months=12)
            ledger.call(ledger.programs.CreateProgram, request)
            ledger.close()
        yield made
    finally:
        for cluster in made:
            cluster.stop()
            postgres.drop(cluster.database.name)


def members_file(path: Path) -> Path:
    """Members with cards, every third with points that have expired, every fifth in two rows."""
    lines = ["member,enrol_time,billing_day,points,awarded_time,identifier.card"]
    for n in range(MEMBERS):
        day = f"{2024 + n % 3}-0{1 + n % 5}-{1 + n % 28:02}"
        lines.append(f"m{n},2020-01-01,{1 + n % 31},{n + 1},{day},card-{n}")
        if n % 5 == 0:
            lines.append(f"m{n},,,{2 * n + 1},{day},")
    path.write_text("\n".join(lines) + "\n")
    return path


def begin(cluster: Cluster, tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    """The command, with a credential for the first process's address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env={
            **kept,
            "PYTHONPATH": str(ROOT / "libs"),
            "LOYALTY_STATE": str(tmp_path / "state"),
            "LOYALTY_TOKEN": cluster.token(),
            "LOYALTY_LEDGER_ADDRESS": cluster.processes[0].address,
            "COLUMNS": "200",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def books(cluster: Cluster) -> list[Any]:
    """Everything that the import left in the ledger's tables."""

    async def read() -> list[Any]:
        connection = await asyncpg.connect(cluster.database.dsn)
        try:
            return [tuple(row) for row in await connection.fetch(_BOOKS)]
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(read())


def wait_for_rows(cluster: Cluster, least: int) -> None:
    """Wait until so many members are in."""
    deadline = time.monotonic() + 60
    while len(books(cluster)) < least:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_an_import_that_is_killed_again_and_again_equals_one_run(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    """`kill -9` of the command, then of the ledger under it; 5,000 members, each row once."""
    file = members_file(tmp_path / "members.csv")
    whole, torn = clusters
    arguments = ("members", "import", str(file), "--program", "s", "--id", "old")
    once = finished(begin(whole, tmp_path / "a", *arguments))
    assert once.returncode == 0, once.stderr

    command = begin(torn, tmp_path / "b", *arguments, "--batch", "100", "--concurrency", "2")
    wait_for_rows(torn, MEMBERS // 4)
    command.kill()
    command.communicate()
    command = begin(torn, tmp_path / "b", *arguments, "--batch", "100", "--concurrency", "2")
    wait_for_rows(torn, MEMBERS // 2)
    process = torn.processes[0]
    process.kill()
    torn.start(port=int(process.address.rpartition(":")[2]))
    done = finished(command)
    again = finished(begin(torn, tmp_path / "b", *arguments))

    assert done.returncode == 0, done.stderr
    assert "going on after row" in done.stderr
    assert books(torn) == books(whole)
    assert len(books(whole)) == MEMBERS
    rows = MEMBERS + MEMBERS // 5
    assert f"replayed, in before{rows:>18,}".replace(" ", "") in again.stdout.replace(" ", "")


def test_members_are_exported_and_bad_files_send_nothing(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    cluster = clusters[0]
    file = tmp_path / "members.csv"
    file.write_text("member,points,identifier.card\nm1,5,4711\nm2,x,\n")
    arguments = ("members", "import", str(file), "--program", "s", "--id", "old")

    refused = finished(begin(cluster, tmp_path, *arguments))
    assert (refused.returncode, books(cluster)) == (2, [])
    assert "line 3, column points" in refused.stderr
    skipped = finished(begin(cluster, tmp_path, *arguments, "--skip-bad"))
    assert skipped.returncode == 0, skipped.stderr
    file.write_text("member,points,identifier.card\nm1,6,4711\nm2,3,4711\n")
    corrected = finished(begin(cluster, tmp_path, *arguments))
    exported = finished(begin(cluster, tmp_path, "members", "export", "--program", "s"))

    assert corrected.returncode == 3
    assert "row 1: REQUEST_ID_REUSED" in corrected.stderr
    assert "row 2: IDENTIFIER_EXISTS" in corrected.stderr
    assert "4711" not in corrected.stderr + corrected.stdout
    rows = list(csv.DictReader(exported.stdout.splitlines()))
    assert [(row["member"], row["state"], row["identifier_kinds"]) for row in rows] == [
        ("m1", "open", "card")
    ]
    ledger = cluster.processes[0].connect()
    account = ledger.call(
        ledger.ledger.GetAccount, ledger_pb2.GetAccountRequest(program="s", member="m1")
    )
    ledger.close()
    assert account.balances[0].available == 5


def share_and_merge(ledger: Any) -> None:
    """On the fourth day `=bob` joins a group and earns for it; carol is merged into ada."""
    update = program_pb2.UpdateProgramSettingsRequest(program="s")
    update.settings.groups.enabled = True
    ledger.call(ledger.programs.UpdateProgramSettings, update)
    move = program_pb2.AdvanceClockRequest(program="s", time=at(2026, 6, 4))
    ledger.call(ledger.programs.AdvanceClock, move)
    group = group_pb2.CreateGroupRequest(
        program="s", group="family", request_id="c", kind=resources_pb2.Account.GROUP
    )
    ledger.call(ledger.accounts.CreateGroup, group)
    join = group_pb2.AddGroupMemberRequest(
        program="s", group="family", member="=bob", request_id="j"
    )
    ledger.call(ledger.accounts.AddGroupMember, join)
    for member, points in (("=bob", 5), ("carol", 3)):
        earn = ledger_pb2.EarnRequest(program="s", member=member, request_id="e4", points=points)
        ledger.call(ledger.ledger.Earn, earn)
    merge = group_pb2.MergeMembersRequest(program="s", member="carol", into="ada", request_id="m")
    ledger.call(ledger.accounts.MergeMembers, merge)


def assert_every_line_once(shared: "subprocess.CompletedProcess[str]") -> None:
    """Of the account that it is in, a group's too."""
    told = list(csv.DictReader(shared.stdout.splitlines()))
    assert [
        (row["member"], row["kind"], row["points"]) for row in told if row["points"] != "0"
    ] == [
        ("ada", "MOVED_IN", "3"),
        ("'=bob", "MOVED_OUT", "-80"),
        ("carol", "EARNED", "3"),
        ("carol", "MOVED_OUT", "-3"),
        ("family", "MOVED_IN", "80"),
        ("family", "EARNED", "5"),
    ], shared.stderr
    assert len({(row["member"], row["sequence"]) for row in told}) == len(told)


def test_statements_and_redemptions_are_exported_for_a_stretch_of_record_time(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    cluster = clusters[0]
    ledger = cluster.processes[0].connect()
    update = program_pb2.UpdateProgramSettingsRequest(program="s")
    update.settings.redemption.conversion_rate = "0.01"
    update.settings.redemption.account = "4711"
    update.settings.redemption.cost_center = "shops"
    update.settings.program.auto_enrol = True
    ledger.call(ledger.programs.UpdateProgramSettings, update)
    for day, member in ((1, "ada"), (2, "=bob"), (3, "ada")):
        move = program_pb2.AdvanceClockRequest(program="s", time=at(2026, 6, day))
        ledger.call(ledger.programs.AdvanceClock, move)
        earn = ledger_pb2.EarnRequest(program="s", member=member, request_id=f"e{day}", points=100)
        ledger.call(ledger.ledger.Earn, earn)
        redeem = ledger_pb2.RedeemRequest(
            program="s", member=member, request_id=f"r{day}", points=10 * day, reference="till 7"
        )
        ledger.call(ledger.ledger.Redeem, redeem)
    share_and_merge(ledger)
    ledger.close()

    stretch = ("--program", "s", "--from", "2026-06-01", "--until", "2026-06-03")
    redeemed = finished(begin(cluster, tmp_path, "redemptions", "export", *stretch))
    exact = finished(
        begin(cluster, tmp_path, "redemptions", "export", *stretch, "--format", "jsonl")
    )
    path = tmp_path / "lines.csv"
    lines = finished(
        begin(cluster, tmp_path, "statements", "export", *stretch, "--output", str(path))
    )
    one = finished(
        begin(
            cluster, tmp_path, "statements", "export", "--program", "s", "--member", "ada",
            "--format", "jsonl",
        )
    )  # fmt: skip
    shared = finished(
        begin(cluster, tmp_path, "statements", "export", "--program", "s", "--from", "2026-06-04")
    )
    nobody = finished(
        begin(cluster, tmp_path, "statements", "export", "--program", "s", "--member", "nobody")
    )

    assert redeemed.returncode == 0, redeemed.stderr
    rows = list(csv.DictReader(redeemed.stdout.splitlines()))
    assert [
        (row["member"], row["points"], row["value"], row["finance_account"], row["cost_center"])
        for row in rows
    ] == [("ada", "10", "0.10", "4711", "shops"), ("'=bob", "20", "0.20", "4711", "shops")]
    assert [json.loads(line)["member"] for line in exact.stdout.splitlines()] == ["ada", "=bob"]
    assert lines.returncode == 0, lines.stderr
    told = list(csv.DictReader(path.read_text().splitlines()))
    assert [(row["member"], row["kind"], row["points"], row["balance"]) for row in told] == [
        ("ada", "ENROLLED", "0", "0"),
        ("ada", "EARNED", "100", "100"),
        ("ada", "REDEEMED", "-10", "90"),
        ("'=bob", "ENROLLED", "0", "0"),
        ("'=bob", "EARNED", "100", "100"),
        ("'=bob", "REDEEMED", "-20", "80"),
    ]
    assert len(one.stdout.splitlines()) > 5
    assert_every_line_once(shared)
    assert (nobody.returncode, "MEMBER_NOT_FOUND" in nobody.stderr) == (3, True)

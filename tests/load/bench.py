"""`python -m tests.load.bench` (`make bench`): measures this machine.

Writes `docs/benchmarks.md` and `docs/benchmarks.json`; with `--quick`, or with some measurements
only, it prints alone. Ends everything that it started.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chassis.postgres import PostgresUnavailable
from tests.load import machine
from tests.load.loads import Load
from tests.load.pgbench import Baseline
from tests.load.phases import FULL, QUICK, Sizes, expire, grow
from tests.load.report import as_json, as_page
from tests.load.rows import (
    EXPIRY,
    EXPIRY_OF_ONE,
    LARGE,
    MEASUREMENTS,
    SMALL,
    Figure,
    Measurement,
    Outcome,
    Script,
)
from tests.load.stage import LEDGER, ROOT, Server, Stage, say

LEAD_S = 0.3
"""Between sending a load and its beginning: time to read it and to connect."""


class Bench:
    """One run: the same measurements, round by round."""

    def __init__(
        self,
        stage: Stage,
        seconds: float,
        warm_up: float,
        outcome: Outcome,
        only: Sequence[str] = (),
    ) -> None:
        self._stage = stage
        self._measurements = [each for each in MEASUREMENTS if not only or each.name in only]
        self._seconds = seconds
        self._warm_up = warm_up
        self._outcome = outcome

    def choose_clients(self, seconds: int) -> None:
        """Find out with how many clients each baseline is fastest; with 0 seconds, take 8."""
        for each in self._measurements:
            if isinstance(each, Script):
                best = self._baseline(each).best_clients(self._stage, seconds) if seconds else 8
                self._outcome.clients[each.name] = best

    def round(self) -> None:
        """Measure everything once."""
        for each in self._measurements:
            figure = (
                self._script(each)
                if isinstance(each, Script)
                else self.load(each, self._stage.servers[each.target])
            )
            self._outcome.figures.setdefault(each.name, []).append(figure)
            say(
                f"{each.name:18} {figure.rate:9,.0f}/s"
                + (f"  p50 {figure.p50 * 1e3:7.2f} ms" if figure.p50 else "")
                + (f"  {figure.refused} refused" if figure.refused else "")
            )

    def load(self, measured: Measurement, server: Server, members: int = 0) -> Figure:
        """Measure a load on a server, on `members` where they are not all of the stage's."""
        stage = self._stage
        used, cpu, log = server.cpu_s(), stage.postgres_cpu_s(), stage.written_bytes()
        begin = time.monotonic() + LEAD_S
        tally = stage.run(
            Load(
                address=server.address,
                method=measured.method,
                callers=measured.callers,
                members=1 if measured.hot else members or stage.members,
                begin=begin,
                measure=begin + self._warm_up,
                end=begin + self._warm_up + self._seconds,
                hot=measured.hot,
                zipf=measured.zipf,
                rate=self._outcome.figures[measured.half_of][-1].rate / 2
                if measured.half_of
                else 0,
            )
        )
        if tally.refused:
            say(f"refused: {tally.refusal}")
        done = max(1, tally.all_done)
        writes = measured.target == "ledger"
        return Figure(
            rate=tally.rate(),
            p50=tally.percentile(0.5),
            p99=tally.percentile(0.99),
            server_cpu=(server.cpu_s() - used) / done,
            postgres_cpu=(stage.postgres_cpu_s() - cpu) / done if writes else 0.0,
            wal_bytes=(stage.written_bytes() - log) / done if writes else 0.0,
            refused=tally.refused,
        )

    def _baseline(self, script: Script) -> Baseline:
        return Baseline(script.script, 1 if script.hot else self._stage.members)

    def _script(self, script: Script) -> Figure:
        stage = self._stage
        baseline, clients = self._baseline(script), self._outcome.clients[script.name]
        baseline.run(stage, clients, round(self._warm_up))
        cpu, log = stage.postgres_cpu_s(), stage.written_bytes()
        rate, count = baseline.run(stage, clients, max(1, round(self._seconds)))
        count = max(1, count)
        return Figure(
            rate=rate,
            postgres_cpu=(stage.postgres_cpu_s() - cpu) / count,
            wal_bytes=(stage.written_bytes() - log) / count,
        )


def stored(stage: Stage) -> tuple[int, int]:
    """Bytes of the ledger's tables with their indexes, and the number of postings."""
    size = stage.psql(
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        LEDGER,
    )
    return int(size), int(stage.psql("SELECT count(*) FROM posting", LEDGER))


def run(
    *,
    members: int,
    rounds: int,
    seconds: float,
    warm_up: float,
    choose: int,
    generators: int,
    sizes: Sizes,
    only: Sequence[str] = (),
) -> Outcome:
    """Measure everything, or only what is named.

    `seconds` and `warm_up` are of one measurement, `choose` is of one try of a number of clients.
    """
    began = time.monotonic()
    with Stage(members, generators) as stage:
        outcome = Outcome(machine.describe(stage), members, seconds, rounds)
        say(f"ready after {time.monotonic() - began:.0f} s")
        bench = Bench(stage, seconds, warm_up, outcome, only)
        bench.choose_clients(choose)
        size, postings = stored(stage)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}, after {time.monotonic() - began:.0f} s")
            bench.round()
        size_after, postings_after = stored(stage)
        outcome.bytes_per_earning = (size_after - size) / max(1, postings_after - postings)
        try:
            if not only or {EXPIRY, EXPIRY_OF_ONE} & set(only):
                expire(stage, outcome, sizes)
            if not only or {SMALL, LARGE} & set(only):
                grow(stage, outcome, sizes, bench, rounds)
        except (PostgresUnavailable, subprocess.TimeoutExpired) as fault:
            # Large books on a busy machine: what was measured before is not lost with them.
            say(f"not measured: {fault}")
        say(f"done after {time.monotonic() - began:.0f} s")
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Measure the ledger on this machine.")
    parser.add_argument("--quick", action="store_true", help="two minutes, writes no page")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--generators", type=int, default=max(2, (os.cpu_count() or 2) // 2))
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for the results")
    parser.add_argument("--only", default="", help="names of measurements, separated by commas")
    options = parser.parse_args(arguments)
    quick = options.quick
    only = [name for name in options.only.split(",") if name]
    outcome = run(
        members=2000 if quick else 100_000,
        rounds=options.rounds,
        seconds=1.0 if quick else 3.0,
        warm_up=0.3 if quick else 1.0,
        choose=1 if quick else 2,
        generators=options.generators,
        sizes=QUICK if quick else FULL,
        only=only,
    )
    page = as_page(outcome)
    print(page)
    if not (quick or only) or options.output != ROOT / "docs":
        results = json.dumps(as_json(outcome), indent=1) + "\n"
        (options.output / "benchmarks.json").write_text(results)
        (options.output / "benchmarks.md").write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

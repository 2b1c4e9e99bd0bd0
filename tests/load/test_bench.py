"""The benchmark itself: that it measures what it says, and leaves nothing running."""

import psutil
import pytest

from tests.load.bench import Bench, stored
from tests.load.loads import Tally, joined
from tests.load.phases import Sizes, expire, grow
from tests.load.report import as_json, as_page
from tests.load.rows import Figure, Outcome, Row
from tests.load.stage import LEDGER, SQL, Stage

SQL_ONES = ("sql", "sql function")
TINY = Sizes(20_000, 4_000, 10.0, 400, 4_000, 200)
FILLED = "SELECT string_agg(key, ' ' ORDER BY key) FROM jsonb_each_text(jsonb_strip_nulls(({row})))"
LAST = {
    "posting": "SELECT to_jsonb(p) FROM posting p ORDER BY record_time DESC LIMIT 1",
    "entry": "SELECT to_jsonb(e) FROM entry e ORDER BY record_time DESC LIMIT 1",
    "lot": "SELECT to_jsonb(l) FROM lot l ORDER BY earn_time DESC LIMIT 1",
    "balance": "SELECT to_jsonb(b) FROM balance b LIMIT 1",
    "counter": "SELECT to_jsonb(c) FROM counter c LIMIT 1",
    "account": "SELECT to_jsonb(a) FROM account a WHERE version > 1 LIMIT 1",
}


@pytest.mark.timeout(180)
def test_a_run_measures_a_load_and_baselines_that_write_the_same_rows_and_ends_all() -> None:
    outcome = Outcome({}, 200, 1.5, 1)
    with Stage(members=200, generators=1) as stage:
        bench = Bench(stage, 1.5, 0.2, outcome, (*SQL_ONES, "batch", "earn", "earn half", "echo"))
        bench.choose_clients(0)
        before = stored(stage)
        bench.round()
        size, postings = stored(stage)
        filled = {
            database: {
                table: stage.psql(FILLED.format(row=row), database) for table, row in LAST.items()
            }
            for database in (LEDGER, SQL)
        }

        expire(stage, outcome, TINY)
        grow(stage, outcome, TINY, bench, 1)

    assert size > before[0]
    assert postings > before[1]
    assert filled[SQL] == filled[LEDGER]
    figures = outcome.figures
    assert all(one.rate > 0 and not one.refused for each in figures.values() for one in each)
    assert [row["what"] for row in as_json(outcome)["rows"]] == [
        "`BatchPost` of 100, many accounts, against SQL",
        "`BatchPost` of 100, many accounts, against SQL function",
        "`Earn`, 128 callers, many accounts, against Echo",
        "`Earn`, calls at random at half the peak rate, p99 against p50",
        "Expiry, ten lots an account at one month's end, lots a second",
        "Expiry, memory at the end against the beginning",
        "Expiry, one lot an account, lots a second",
        "`Earn` with 100 times as many entries stored",
        "the same right after a checkpoint",
    ]
    assert "| batch |" in as_page(outcome)
    assert [
        line for line in map(_line, psutil.Process().children()) if "loyalty-bench" in line
    ] == []


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_bound_is_kept_by_the_median_of_the_rounds() -> None:
    figures = {
        "one": [Figure(rate=rate) for rate in (10.0, 30.0, 50.0)],
        "other": [Figure(rate=10.0)] * 3,
    }
    row = Row("one against the other", "one", "other", 3.0)

    assert row.ratios(figures) == [1.0, 3.0, 5.0]
    assert row.kept(row.ratios(figures))
    assert not Row("a latency", "one", "other", 2.0, at_most=True).kept([1.0, 3.0, 5.0])
    assert Row("only told", "one", "", None).kept(row.ratios(figures)) is None
    assert Row("a rate", "one", "", 20.0).ratios(figures) == [10.0, 30.0, 50.0]


def test_generators_that_work_together_are_one_tally() -> None:
    tally = joined([Tally(2, 3, 0, 1.0, (0.1, 0.4)), Tally(4, 5, 1, 1.0, (0.2, 0.3), "refused")])

    assert (tally.rate(), tally.all_done, tally.refused) == (6.0, 8, 1)
    assert tally.percentile(0.5) == 0.3
    assert tally.refusal == "refused"

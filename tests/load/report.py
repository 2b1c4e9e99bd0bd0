"""The outcome as JSON and as a page."""

from dataclasses import asdict
from statistics import median
from typing import Any

from tests.load.rows import Outcome

_HEAD = """# Benchmarks

Written by `make bench`. Everything ran on one machine, in one run: Postgres, the ledger, the echo
and the callers, each a process of its own, sharing its processors. The figures are the ratios; the
absolute numbers belong to this machine. Each measurement warmed up and ran {rounds} times for
{seconds:g} s in turn with what it is compared with; a ratio is of the two in the same round.

* **SQL**: `pgbench -M prepared`, one transaction an earning, that locks the account and writes the
  rows that the ledger writes (`tests/load/sql.pgbench`), with its best number of clients.
* **SQL function**: the same rows by one call of a PL/pgSQL function (`tests/load/baseline.sql`).
* **SQL hot**: SQL with all earnings on one account.
* **Echo**: the same messages on the same server and chain, with an answer made beforehand.
* **Expiry**: a book filled by SQL whose lots are all due when the ledger starts; its job settles
  them. The three figures are the thirds of one run.
* **100 times as many entries**: two books filled by SQL, the same members in both; nearly all of
  them have earned since the last checkpoint. Right after a checkpoint, every first change of a page
  writes the whole page to the log.

What limits each figure, and what was tried: [speed.md](speed.md).
"""


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome, with the ratios, for machines."""
    rows = []
    for row in outcome.rows():
        ratios = row.ratios(outcome.figures)
        rows.append(
            {
                "what": row.what,
                "bound": row.bound,
                "at_most": row.at_most,
                "kept": row.kept(ratios),
                "median": round(median(ratios), 3),
                "minimum": round(min(ratios), 3),
                "maximum": round(max(ratios), 3),
            }
        )
    return {"rows": rows, **asdict(outcome)}


def as_page(outcome: Outcome) -> str:
    """The outcome for people."""
    parts = [_HEAD.format(rounds=outcome.rounds, seconds=outcome.seconds), "## Ratios\n"]
    parts.append("| what | promised | median | minimum | maximum | |\n|---|---|---|---|---|---|")
    for row in outcome.rows():
        ratios = row.ratios(outcome.figures)
        sign = "≤" if row.at_most else "≥"
        promised = "" if row.bound is None else f"{sign} {row.bound:,.10g}"
        kept = {True: "kept", False: "not kept", None: ""}[row.kept(ratios)]
        parts.append(
            f"| {row.what} | {promised} | **{_figure(median(ratios))}** | {_figure(min(ratios))}"
            f" | {_figure(max(ratios))} | {kept} |"
        )
    parts.append(
        "\n## Absolute figures\n\nMedians. Processor time and log are for one operation.\n"
    )
    parts.append(
        "| measurement | operations/s | p50 ms | p99 ms | server µs | Postgres µs | log bytes |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, figures in outcome.figures.items():
        numbers = {
            key: median([getattr(each, key) for each in figures])
            for key in ("rate", "p50", "p99", "server_cpu", "postgres_cpu", "wal_bytes")
        }
        clients = outcome.clients.get(name)
        label = name if clients is None else f"{name} ({clients} clients)"
        parts.append(
            f"| {label} | {numbers['rate']:,.0f} | {_number(numbers['p50'] * 1e3, 2)}"
            f" | {_number(numbers['p99'] * 1e3, 2)} | {_number(numbers['server_cpu'] * 1e6, 0)}"
            f" | {_number(numbers['postgres_cpu'] * 1e6, 0)} | {_number(numbers['wal_bytes'], 0)} |"
        )
    parts.append(
        f"\nStored for one earning, with its indexes: {outcome.bytes_per_earning:,.0f} bytes."
    )
    parts.append("\n## Machine and settings\n\n| | |\n|---|---|")
    parts += [f"| {name} | {value} |" for name, value in outcome.machine.items()]
    parts.append(f"| members | {outcome.members:,} |")
    parts += [f"| {name} | {size} |" for name, size in outcome.sizes.items()]
    return "\n".join(parts) + "\n"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if value else ""

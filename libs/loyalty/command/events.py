"""`loyalty events import`: a file of purchases, or of other events, into a program."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from loyalty.client import AsyncClient
from loyalty.clock import SERVICES, advance
from loyalty.command.clients import async_client_here
from loyalty.command.clocks import StubPart
from loyalty.command.event_sending import EventTotals, Submitter, chunks
from loyalty.command.importing import (
    Acknowledged,
    Fresh,
    Into,
    PatienceSeconds,
    SkipBad,
    may_go_on,
    program_and_zone,
    run_import,
    send_file,
    totals_so_far,
)
from loyalty.command.output import REFUSED, WRONG, FirstLines, out, print_report
from loyalty.command.progress_file import ProgressFile, state_folder
from loyalty.command.rows import PURCHASE, File, Meaning, parse_columns, read_file
from loyalty.command.sending import DEADLINE_SECONDS, Patience
from loyalty.command.times import instant_of
from loyalty.common.v1.clock_pb2_grpc import ClockServiceStub
from loyalty.ledger.v1.program_pb2 import Program
from loyalty.rules.v1.events_pb2_grpc import EventServiceStub

app = typer.Typer(no_args_is_help=True, help="Take in what members did.")


@app.callback()
def events() -> None:
    """Take in what members did."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    path: Path
    program: str
    columns: dict[str, str]
    type: str
    currency: str
    batch: int
    concurrency: int
    patience: int
    advance_clock: bool
    end: str
    skip_bad: bool
    fresh: bool


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; the first line names the columns.")],
    program: Into,
    map_: Annotated[
        str,
        typer.Option(
            "--map",
            help="Which column is which field, as in member=id,time=date,amount=paid; the fields: "
            "member, time, amount, type, store, channel, id.",
        ),
    ],
    type_: Annotated[
        str, typer.Option("--type", help="The type of events where no column says it.")
    ] = PURCHASE,
    currency: Annotated[
        str, typer.Option(help="ISO 4217 code of the amounts; the program's, if none.")
    ] = "",
    batch: Annotated[int, typer.Option(help="Events in one call.", min=1, max=1000)] = 500,
    concurrency: Annotated[
        int, typer.Option(help="Calls at once; a member's events stay in order.", min=1, max=64)
    ] = 4,
    patience: PatienceSeconds = 60,
    advance_clock: Annotated[
        bool, typer.Option("--advance-clock", help="Move a sandbox's clock along with the file.")
    ] = False,
    end: Annotated[str, typer.Option(help="Where to leave the clock, with --advance-clock.")] = "",
    skip_bad: SkipBad = False,
    fresh: Fresh = False,
) -> None:
    """Send a file's rows as events, in the order of their times.

    Every event has an id made of its row, so that importing again, also after an interruption,
    gives nothing twice. Times without an offset are local to the program; a date is its first
    instant. Exit code 2 where rows are bad, before anything is sent; 3 where events were refused.
    """
    if end and not advance_clock:
        raise typer.BadParameter("--end needs --advance-clock")
    columns = parse_columns(map_)
    wanted = Wanted(
        file, program, columns, type_, currency.upper(), batch, concurrency, patience,
        advance_clock, end, skip_bad, fresh,
    )  # fmt: skip
    run_import(_import(wanted))


async def _import(wanted: Wanted) -> int:
    """Read, send and report; answers the exit code."""
    async with async_client_here(once=True) as client:
        program, zone = await program_and_zone(client, wanted.program)
        if wanted.advance_clock and not program.sandbox:
            raise ValueError(f"{wanted.program} is no sandbox: its clock cannot be advanced")
        file = read_file(wanted.path, Meaning(wanted.columns, zone, wanted.type, wanted.currency))
        end = instant_of(wanted.end, zone) if wanted.end else None
        if end is not None and file.rows and end < file.rows[-1].time:
            raise ValueError(f"--end: the last row is at {file.rows[-1].time.isoformat()}")
        lines = FirstLines()
        for bad in file.bad:
            lines.say(f"{wanted.path}, {bad}")
        lines.end()
        if not may_go_on(len(file.bad), len(file.rows), skip_bad=wanted.skip_bad):
            return WRONG
        started = time.monotonic()
        run = _Run(client, wanted, program, file)
        skipped = run.totals.rows
        await run.go(end)
        _report(file, run.totals, run.totals.rows - skipped, time.monotonic() - started)
        return REFUSED if run.totals.refused else 0


class _Run:
    """One import: chunk after chunk, the clock before each, the progress kept after each."""

    def __init__(self, client: AsyncClient, wanted: Wanted, program: Program, file: File) -> None:
        self._wanted = wanted
        self._rows = file.rows
        self._now = program.now.ToDatetime(UTC)
        self._parts = [
            StubPart(client.stub(ClockServiceStub, name), wanted.program, DEADLINE_SECONDS)
            for name in SERVICES
        ]
        self._rules = client.stub(EventServiceStub)
        self._kept = ProgressFile.of(
            state_folder(os.environ),
            # A program made anew under the same name knows nothing of what the last one took in.
            file.digest, program.program, program.create_time.ToJsonString(),
            sorted(wanted.columns.items()), wanted.type, wanted.currency,
        )  # fmt: skip
        self.totals = totals_so_far(self._kept, EventTotals, len(self._rows), fresh=wanted.fresh)

    async def go(self, end: datetime | None) -> None:
        """Send what is not yet acknowledged, and leave the clock at `end`."""

        async def send(patience: Patience, acknowledged: Acknowledged) -> None:
            await self._send(patience, acknowledged)
            if self._wanted.advance_clock:
                await self._move(patience, max(end or self._now, self._now), following=True)

        wanted = self._wanted
        await send_file(
            wanted.path, len(self._rows), self.totals, self._kept, wanted.patience, send
        )

    async def _send(self, patience: Patience, acknowledged: Acknowledged) -> None:
        wanted = self._wanted
        submitter = Submitter(self._rules, wanted.program, wanted.batch, patience, self.totals)
        rows = self._rows[self.totals.rows :]
        cut = chunks(rows, wanted.batch, wanted.concurrency, by_day=wanted.advance_clock)
        for chunk in cut:
            if wanted.advance_clock and chunk.time > self._now:
                await self._move(patience, chunk.time, following=False)
            await submitter.send(chunk)
            acknowledged(chunk.time)

    async def _move(self, patience: Patience, until: datetime, *, following: bool) -> None:
        """Move the clock of every service that has something due on the way, and the ledger's."""
        keeper, *followers = self._parts
        await patience.call(lambda: advance(keeper, followers, until, following=following))
        self._now = until


def _report(file: File, totals: EventTotals, sent: int, seconds: float) -> None:
    """Say what became of the rows."""
    lines = [
        ("rows", f"{totals.rows:,}"),
        ("events taken in", f"{totals.taken_in:,}"),
        ("replayed, in before", f"{totals.replayed:,}"),
        *((f"refused, {reason}", f"{count:,}") for reason, count in sorted(totals.refused.items())),
        *((f"{name} given", f"{points:,}") for name, points in sorted(totals.points.items())),
        *(
            (f"{name} given before", f"{points:,}")
            for name, points in sorted(totals.points_replayed.items())
        ),
    ]
    if file.bad:
        lines.insert(1, ("bad rows, skipped", f"{len(file.bad):,}"))
    print_report(lines)
    rate = f"{sent / max(seconds, 1e-6):,.0f} rows/s"
    out.print(f"{sent:,} rows in {seconds:,.1f} s, {rate}", markup=False, highlight=False)

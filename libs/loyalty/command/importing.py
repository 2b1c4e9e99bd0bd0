"""What all imports of files share: the program, bad rows, and going on after a stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer

from loyalty.calls import LoyaltyRefusal
from loyalty.client import AsyncClient
from loyalty.command.output import complain, err
from loyalty.command.progress import shown_progress
from loyalty.command.progress_file import ProgressFile, Totals
from loyalty.command.sending import PASSING, Patience
from loyalty.command.times import zone_of
from loyalty.ledger.v1.program_pb2 import GetProgramRequest, GetProgramSettingsRequest, Program
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub

# Options that all imports have.
Into = Annotated[str, typer.Option("--program", help="The program.")]
PatienceSeconds = Annotated[
    int,
    typer.Option("--patience", help="Seconds without success before giving up.", min=0, max=86400),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Import the good rows of a file with bad ones.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Ask about every row, also of an import cut short.")
]

Kind = TypeVar("Kind", bound=Totals)
Acknowledged = Callable[[datetime | None], None]
"""Called when what became of all rows so far is counted; with the day of the last one, if any."""


def run_import(work: Coroutine[Any, Any, int]) -> None:
    """Run an import, and exit with the code that it answers."""
    code = asyncio.run(work)
    if code:
        raise typer.Exit(code)


async def program_and_zone(client: AsyncClient, program: str) -> tuple[Program, ZoneInfo]:
    """The program that a file goes into, and its time zone."""
    programs = client.stub(ProgramServiceStub)
    found = await programs.GetProgram(GetProgramRequest(program=program))
    settings = await programs.GetProgramSettings(GetProgramSettingsRequest(program=program))
    return found, zone_of(settings.program.time_zone)


def may_go_on(bad: int, good: int, *, skip_bad: bool) -> bool:
    """Whether a file is imported though rows are bad; says so where it is not."""
    if skip_bad or not bad:
        return True
    complain(
        f"nothing was sent: bad rows {bad:,}, good rows {good:,}; --skip-bad imports the good ones"
    )
    return False


def totals_so_far(kept: ProgressFile, kind: type[Kind], rows: int, *, fresh: bool) -> Kind:
    """What an import that was cut short has counted, of a file with `rows` good rows."""
    totals = kind() if fresh else kind.from_json(kept.read())
    if not 0 <= totals.rows <= rows:
        totals = kind()
    if totals.rows:
        err.print(f"going on after row {totals.rows:,} of {rows:,}")
    return totals


async def send_file(
    path: Path,
    rows: int,
    totals: Totals,
    kept: ProgressFile,
    patience_seconds: float,
    send: Callable[[Patience, Acknowledged], Awaitable[None]],
) -> None:
    """Have `send` send what is not yet acknowledged, and show and keep how far it comes."""
    with shown_progress(err, path.name, rows) as progress:
        progress.begin(totals.rows)

        def acknowledged(day: datetime | None) -> None:
            kept.keep(totals, progress.say)
            progress.reached(totals.rows, day)

        try:
            await send(Patience(patience_seconds, progress.say), acknowledged)
        except BaseException as error:
            wrong = isinstance(error, LoyaltyRefusal) and error.code not in PASSING
            then = "" if wrong else ": the same command goes on"
            progress.say(f"stopped after row {totals.rows:,} of {rows:,}{then}")
            raise
    kept.forget()

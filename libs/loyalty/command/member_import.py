"""`loyalty members import`: members of another system, with what they bring."""

import asyncio
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from loyalty.calls import (
    LoyaltyRefusal,
    RetryPolicy,
    credential_of,
    options_of,
    refusal_of_status,
)
from loyalty.client import AsyncClient
from loyalty.command.member_rows import MemberFile, NumberedMember, parse_members_map
from loyalty.command.output import REFUSED, UNREACHABLE, err, out
from loyalty.command.progress import shown_progress
from loyalty.command.progress_file import ProgressFile, state_folder
from loyalty.command.rows import BadRow
from loyalty.command.sending import DEADLINE_SECONDS, PASSING, Patience
from loyalty.command.times import zone_of
from loyalty.ledger.v1.account_pb2 import ImportMembersRequest, MemberImport
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.program_pb2 import GetProgramRequest, GetProgramSettingsRequest
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.ledger.v1.resources_pb2 import Entry

SHOWN = 20
WRONG = 2
BALANCES_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    path: Path
    program: str
    import_id: str
    columns: dict[str, str]
    batch: int
    concurrency: int
    patience: int
    skip_bad: bool
    fresh: bool
    validate_only: bool


@dataclass(slots=True)
class Totals:
    """What became of the rows so far; points by currency."""

    rows: int = 0
    enrolled: int = 0
    replayed: int = 0
    points: Counter[str] = field(default_factory=Counter)
    expired: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, result: Any) -> None:
        """Count a row that stands."""
        if result.replayed:
            self.replayed += 1
            return
        for entry in result.posting.entries:
            if entry.kind == Entry.ENROLLED:
                self.enrolled += 1
            elif entry.kind == Entry.ADJUSTED_IN:
                self.points[entry.currency] += entry.points
            elif entry.kind == Entry.EXPIRED:
                self.expired[entry.currency] -= entry.points

    def to_json(self) -> dict[str, Any]:
        """The totals as JSON has them."""
        return {
            "rows": self.rows,
            "enrolled": self.enrolled,
            "replayed": self.replayed,
            "points": dict(self.points),
            "expired": dict(self.expired),
            "refused": dict(self.refused),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Totals":
        """The totals that `to_json` made; none where it is something else."""
        try:
            counters = [
                Counter({str(name): int(count) for name, count in value[each].items()})
                for each in ("points", "expired", "refused")
            ]
            rows, enrolled, replayed = (
                int(value[each]) for each in ("rows", "enrolled", "replayed")
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return Totals()
        return Totals(rows, enrolled, replayed, *counters)


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="CSV in UTF-8 with a first line of names, or JSON lines (.jsonl)."),
    ],
    program: Annotated[str, typer.Option(help="The program.")],
    import_id: Annotated[
        str,
        typer.Option(
            "--id",
            help="A name for this import, such as old-crm; a row's number under it is taken once.",
        ),
    ],
    map_: Annotated[
        str,
        typer.Option(
            "--map",
            help="Columns that are named otherwise, as in member=id,identifier.card=card_no; the "
            "fields: member, enrol_time, billing_day, currency, points, awarded_time, "
            "expire_time, expiry, identifier.KIND.",
        ),
    ] = "",
    batch: Annotated[int, typer.Option(help="Rows in one call.", min=1, max=1000)] = 500,
    concurrency: Annotated[
        int, typer.Option(help="Calls at once; a member's rows stay in order.", min=1, max=64)
    ] = 4,
    patience: Annotated[
        int, typer.Option(help="Seconds without success before giving up.", min=0, max=86400)
    ] = 60,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the good rows of a file with bad ones.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask about every row, also of an import cut short.")
    ] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Answer as if, and write nothing.")
    ] = False,
) -> None:
    """Enrol the members of a file, with identifiers and opening balances.

    Interrupted and started again, it takes in nothing twice. With the same --id a corrected file
    may be imported: its rows keep their numbers, so those that are in stay, and those that differ
    are refused. Times without an offset are local to the program; a date is its first instant. Exit
    code 2 where rows are bad, before anything is sent; 3 where rows were refused.
    """
    wanted = Wanted(
        file, program, import_id, parse_members_map(map_), batch, concurrency, patience, skip_bad,
        fresh, validate_only,
    )  # fmt: skip
    try:
        code = asyncio.run(_import(wanted))
    except LoyaltyRefusal as refusal:
        if refusal.code not in PASSING:
            raise
        # Not the rows are refused: the ledger says that it cannot just now.
        err.print(str(refusal), style="red", markup=False)
        code = UNREACHABLE
    if code:
        raise typer.Exit(code)


async def _import(wanted: Wanted) -> int:
    """Read, send and report; answers the exit code."""
    options = options_of(os.environ, RetryPolicy(attempts=1, wait_for_ready=False))
    async with AsyncClient(options, credential_of(os.environ)) as client:
        programs = client.stub(ProgramServiceStub)
        program = await programs.GetProgram(GetProgramRequest(program=wanted.program))
        settings = await programs.GetProgramSettings(
            GetProgramSettingsRequest(program=wanted.program)
        )
        file = MemberFile(wanted.path, zone_of(settings.program.time_zone), wanted.columns)
        kept = ProgressFile.of(
            state_folder(os.environ), "members", file.digest(), program.program,
            program.create_time.ToJsonString(), wanted.import_id, sorted(wanted.columns.items()),
            wanted.skip_bad, wanted.validate_only,
        )  # fmt: skip
        good, bad = _look_through(file)
        if bad and not wanted.skip_bad:
            err.print(
                f"nothing was sent: bad rows {bad:,}, good rows {good:,};"
                " --skip-bad imports the good ones",
                style="red",
                soft_wrap=True,
            )
            return WRONG
        run = _Run(client.stub(AccountServiceStub), wanted, file, kept, good)
        started, skipped = time.monotonic(), run.totals.rows
        await run.go()
        seconds = time.monotonic() - started
        _report(run.totals, bad, (run.totals.rows - skipped) / max(seconds, 1e-9))
        return REFUSED if run.totals.refused else 0


def _look_through(file: MemberFile) -> tuple[int, int]:
    """Read the whole file before anything of it is sent: how many rows are good, and bad."""
    good = bad = 0
    for row in file.rows():
        if isinstance(row, BadRow):
            bad += 1
            if bad <= SHOWN:
                err.print(f"{file.path}, {row}", markup=False, highlight=False, soft_wrap=True)
        else:
            good += 1
    if bad > SHOWN:
        err.print(f"… and {bad - SHOWN:,} more")
    return good, bad


class _Run:
    """One import: chunk after chunk, the progress kept after each."""

    def __init__(
        self, members: Any, wanted: Wanted, file: MemberFile, kept: ProgressFile, good: int
    ) -> None:
        self._members = members
        self._wanted = wanted
        self._file = file
        self._kept = kept
        self._good = good
        self._shown = 0
        self.totals = Totals() if wanted.fresh else Totals.from_json(kept.read())
        if self.totals.rows > good:
            self.totals = Totals()
        if self.totals.rows:
            err.print(f"going on after row {self.totals.rows:,} of {good:,}")

    async def go(self) -> None:
        """Send what is not yet acknowledged."""
        with shown_progress(err, self._wanted.path.name, self._good) as progress:
            patience = Patience(self._wanted.patience, progress.say)
            progress.begin(self.totals.rows)
            try:
                for chunk in self._chunks():
                    await self._send(chunk, patience)
                    self._keep(progress.say)
                    progress.reached(self.totals.rows)
            except BaseException:
                done = self.totals.rows
                progress.say(
                    f"stopped after row {done:,} of {self._good:,}: the same command goes on"
                )
                raise
        self._kept.forget()

    def _chunks(self) -> Iterator[list[NumberedMember]]:
        """The rows that are not yet acknowledged, so many as are sent at once."""
        most = self._wanted.batch * self._wanted.concurrency
        behind = self.totals.rows
        chunk: list[NumberedMember] = []
        for row in self._file.rows():
            if isinstance(row, BadRow):
                continue
            if behind:
                behind -= 1
                continue
            chunk.append(row)
            if len(chunk) == most:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def _send(self, chunk: Sequence[NumberedMember], patience: Patience) -> None:
        lanes: list[list[NumberedMember]] = [[] for _ in range(self._wanted.concurrency)]
        for row in chunk:
            lanes[zlib.crc32(row.message.member.encode()) % len(lanes)].append(row)
        try:
            async with asyncio.TaskGroup() as tasks:
                for lane in filter(None, lanes):
                    tasks.create_task(self._lane(lane, patience))
        except ExceptionGroup as group:
            # What went wrong first is what there is to say.
            raise group.exceptions[0] from None
        self.totals.rows += len(chunk)

    async def _lane(self, rows: Sequence[NumberedMember], patience: Patience) -> None:
        for batch in _batches(rows, self._wanted.batch):
            await self._batch(batch, patience)

    async def _batch(self, rows: Sequence[MemberImport], patience: Patience) -> None:
        """Send until every row has an answer that stands; each is counted once."""
        waiting = list(rows)

        async def attempt() -> None:
            nonlocal waiting
            request = ImportMembersRequest(
                program=self._wanted.program,
                import_id=self._wanted.import_id,
                rows=waiting,
                validate_only=self._wanted.validate_only,
            )
            answer = await self._members.ImportMembers(request, timeout=DEADLINE_SECONDS)
            again: list[MemberImport] = []
            why: LoyaltyRefusal | None = None
            for row, result in zip(waiting, answer.results, strict=True):
                refusal = refusal_of_status(result.status) if result.HasField("status") else None
                if refusal is None:
                    self.totals.add(result)
                elif refusal.code in PASSING:
                    again.append(row)
                    why = why or refusal
                else:
                    self._refused(row, refusal)
            if len(again) < len(waiting):
                patience.went_well()
            waiting = again
            if why is not None:
                raise why

        await patience.call(attempt)

    def _refused(self, row: MemberImport, refusal: LoyaltyRefusal) -> None:
        self.totals.refused[refusal.reason] += 1
        self._shown += 1
        if self._shown <= SHOWN:
            err.print(f"row {row.number:,}: {refusal}", markup=False, soft_wrap=True)

    def _keep(self, say: Any) -> None:
        try:
            self._kept.write(self.totals.to_json())
        except OSError as error:
            say(f"the progress cannot be kept in {self._kept.path}: {error.strerror}")


def _batches(rows: Sequence[NumberedMember], size: int) -> Iterator[list[MemberImport]]:
    """Rows in calls: neither more rows nor more opening balances than a call may have."""
    batch: list[MemberImport] = []
    balances = 0
    for row in rows:
        more = len(row.message.balances)
        if batch and (len(batch) == size or balances + more > BALANCES_MAX):
            yield batch
            batch, balances = [], 0
        batch.append(row.message)
        balances += more
    if batch:
        yield batch


def _report(totals: Totals, bad: int, rate: float) -> None:
    """Say what became of the rows."""
    lines = [
        ("rows", f"{totals.rows:,}"),
        *([("bad rows, skipped", f"{bad:,}")] if bad else []),
        ("members enrolled", f"{totals.enrolled:,}"),
        ("replayed, in before", f"{totals.replayed:,}"),
        *((f"refused, {reason}", f"{count:,}") for reason, count in sorted(totals.refused.items())),
        *((f"{name} credited", f"{points:,}") for name, points in sorted(totals.points.items())),
        *(
            (f"{name} expired since", f"{points:,}")
            for name, points in sorted(totals.expired.items())
        ),
    ]
    for name, value in lines:
        out.print(f"{name:<28}{value:>14}", markup=False, highlight=False)
    err.print(f"{rate:,.0f} rows/s", highlight=False)

"""`loyalty members import`: members of another system, with what they bring."""

import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from loyalty.calls import LoyaltyRefusal
from loyalty.command.clients import async_client_here
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
from loyalty.command.member_rows import MemberFile, NumberedMember, parse_members_map
from loyalty.command.output import REFUSED, WRONG, FirstLines, err, print_report
from loyalty.command.progress_file import ProgressFile, Totals, state_folder
from loyalty.command.rows import BadRow
from loyalty.command.sending import (
    DEADLINE_SECONDS,
    PASSING,
    Patience,
    refusal_in,
    side_by_side,
    until_answered,
)
from loyalty.ledger.v1.account_pb2 import ImportMembersRequest, ImportMembersResult, MemberImport
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.resources_pb2 import Entry

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
class MemberTotals(Totals):
    """What became of the members so far; points by currency."""

    enrolled: int = 0
    points: Counter[str] = field(default_factory=Counter)
    expired: Counter[str] = field(default_factory=Counter)

    def add(self, result: ImportMembersResult) -> None:
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


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="CSV in UTF-8 with a first line of names, or JSON lines (.jsonl)."),
    ],
    program: Into,
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
    patience: PatienceSeconds = 60,
    skip_bad: SkipBad = False,
    fresh: Fresh = False,
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
    run_import(_import(wanted))


async def _import(wanted: Wanted) -> int:
    """Read, send and report; answers the exit code."""
    async with async_client_here(once=True) as client:
        program, zone = await program_and_zone(client, wanted.program)
        file = MemberFile(wanted.path, zone, wanted.columns)
        kept = ProgressFile.of(
            state_folder(os.environ), "members", file.digest(), program.program,
            program.create_time.ToJsonString(), wanted.import_id, sorted(wanted.columns.items()),
            wanted.skip_bad, wanted.validate_only,
        )  # fmt: skip
        good, bad = _look_through(file)
        if not may_go_on(bad, good, skip_bad=wanted.skip_bad):
            return WRONG
        totals = totals_so_far(kept, MemberTotals, good, fresh=wanted.fresh)
        run = _Run(client.stub(AccountServiceStub), wanted, file, totals)
        started, skipped = time.monotonic(), totals.rows
        await send_file(wanted.path, good, totals, kept, wanted.patience, run.send)
        seconds = time.monotonic() - started
        _report(totals, bad, (totals.rows - skipped) / max(seconds, 1e-9))
        return REFUSED if totals.refused else 0


def _look_through(file: MemberFile) -> tuple[int, int]:
    """Read the whole file before anything of it is sent: how many rows are good, and bad."""
    good = 0
    bad = FirstLines()
    for row in file.rows():
        if isinstance(row, BadRow):
            bad.say(f"{file.path}, {row}")
        else:
            good += 1
    bad.end()
    return good, bad.count


class _Run:
    """One import: chunk after chunk, each member's rows in order."""

    def __init__(
        self, members: Any, wanted: Wanted, file: MemberFile, totals: MemberTotals
    ) -> None:
        self._members = members
        self._wanted = wanted
        self._file = file
        self._totals = totals
        self._refused = FirstLines()

    async def send(self, patience: Patience, acknowledged: Acknowledged) -> None:
        """Send what is not yet acknowledged."""
        for chunk in self._chunks():
            lanes: list[list[NumberedMember]] = [[] for _ in range(self._wanted.concurrency)]
            for row in chunk:
                lanes[zlib.crc32(row.message.member.encode()) % len(lanes)].append(row)
            await side_by_side(self._lane(lane, patience) for lane in lanes if lane)
            self._totals.rows += len(chunk)
            acknowledged(None)

    def _chunks(self) -> Iterator[list[NumberedMember]]:
        """The rows that are not yet acknowledged, so many as are sent at once."""
        most = self._wanted.batch * self._wanted.concurrency
        behind = self._totals.rows
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

    async def _lane(self, rows: Sequence[NumberedMember], patience: Patience) -> None:
        for batch in _batches(rows, self._wanted.batch):
            await until_answered(batch, self._ask, self._count, patience)

    async def _ask(self, rows: Sequence[MemberImport]) -> Sequence[ImportMembersResult]:
        request = ImportMembersRequest(
            program=self._wanted.program,
            import_id=self._wanted.import_id,
            rows=rows,
            validate_only=self._wanted.validate_only,
        )
        answer = await self._members.ImportMembers(request, timeout=DEADLINE_SECONDS)
        return list(answer.results)

    def _count(self, row: MemberImport, result: ImportMembersResult) -> LoyaltyRefusal | None:
        """Count a result that stands; answers why another one does not yet."""
        if result.HasField("posting"):
            self._totals.add(result)
            return None
        refusal = refusal_in(result.status)
        if refusal.code in PASSING:
            return refusal
        self._totals.refused[refusal.reason] += 1
        self._refused.say(f"row {row.number:,}: {refusal}")
        return None


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


def _report(totals: MemberTotals, bad: int, rate: float) -> None:
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
    print_report(lines)
    err.print(f"{rate:,.0f} rows/s", highlight=False)

"""`loyalty verify`: the ledger recomputes every account of a program from its entries.

With a file of checkpoints the history of the whole ledger is compared with what was signed, too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from loyalty.command.clients import async_client_here
from loyalty.command.history_check import Checked, check_history
from loyalty.command.output import complain, err, out
from loyalty.command.sending import side_by_side
from loyalty.ledger.v1.proof_pb2 import VerifyProgramRequest, VerifyProgramResponse
from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceStub
from loyalty.proof import History, public_key_of, read_checkpoints

if TYPE_CHECKING:
    # The stub as asyncio has it exists for types only.
    from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceAsyncStub

DISAGREES = 1
# A ledger that is started anew is back within seconds; the stream goes on where it was.
RESUMES_MAX = 5
RESUME_SECONDS = 1.0
END = "end"

Place = tuple[int, int]


@dataclass(slots=True)
class Outcome:
    """What a verification found: how much was read, and the first disagreements, one line each.

    `places` are how far each shard came; None is its end.
    """

    places: list[Place | None]
    shown: int
    members: int = 0
    entries: int = 0
    wrong: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, part: VerifyProgramResponse) -> None:
        """Take in a part of an answer."""
        self.members += part.accounts
        self.entries += part.entries
        self.wrong += len(part.disagreeing)
        for account in part.disagreeing:
            name = account.member or f"account {account.bucket}/{account.account}"
            for one in account.findings:
                self.say(
                    f"{name}: {one.row}, {one.field}: "
                    f"{one.expected} follows from the entries, {one.stored} is stored"
                )

    def say(self, line: str) -> None:
        """Keep a line, unless there are enough."""
        if len(self.lines) < self.shown:
            self.lines.append(line)

    def position(self) -> str:
        """What `--from` takes to go on from here."""
        return ",".join(END if each is None else f"{each[0]}.{each[1]}" for each in self.places)


def verify(
    program: Annotated[str, typer.Argument(help="The program.")],
    concurrency: Annotated[int, typer.Option(help="Shards at once.", min=1, max=64)] = 2,
    findings: Annotated[int, typer.Option(help="How many findings to print.", min=1)] = 20,
    begin: Annotated[
        str, typer.Option("--from", help="Where a verification stopped, as it said.")
    ] = "",
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="A file of checkpoints: compare the ledger's history with it."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="The public key of its signatures (PEM).")
    ] = None,
) -> None:
    """Verify every account of a program; exit code 1 where something disagrees."""
    history = _read_history(checkpoints, public_key)
    places = _places(begin) if begin else [(0, 0)] * concurrency
    outcome = Outcome(list(places), findings)
    folder = Path() if checkpoints is None else checkpoints.parent
    try:
        checked = asyncio.run(_verify(program, outcome, history, folder))
    except BaseException:
        if outcome.places != places:
            err.print(f"stopped; go on with --from {outcome.position()}", soft_wrap=True)
        _print(outcome.lines)
        raise
    _print([*outcome.lines, *checked.lines])
    if outcome.wrong:
        complain(f"{outcome.wrong:,} of {outcome.members:,} accounts disagree")
    if checked.wrong:
        complain("the history is not the one that was signed")
    if outcome.wrong or checked.wrong:
        raise typer.Exit(DISAGREES)
    out.print(f"everything agrees: accounts {outcome.members:,}, entries {outcome.entries:,}")
    if history is not None:
        out.print(
            f"checkpoints {history.checkpoints:,}, leaves {checked.leaves:,};"
            f" the last one is of {history.time} and has the hash {history.hash.hex()}",
            soft_wrap=True,
            highlight=False,
        )


def _print(lines: list[str]) -> None:
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _places(text: str) -> list[Place | None]:
    places: list[Place | None] = []
    try:
        for each in text.split(","):
            bucket, _, account = each.partition(".")
            places.append(None if each == END else (int(bucket), int(account)))
    except ValueError:
        raise typer.BadParameter(
            "it is not what a verification said", param_hint="--from"
        ) from None
    return places


def _read_history(checkpoints: Path | None, public_key: Path | None) -> History | None:
    if checkpoints is None and public_key is None:
        return None
    if checkpoints is None or public_key is None:
        raise typer.BadParameter("--checkpoints and --public-key go together")
    try:
        with checkpoints.open("rb") as lines:
            history = read_checkpoints(lines, public_key_of(public_key.read_bytes()))
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    if not history.checkpoints and not history.problem:
        raise typer.BadParameter(f"{checkpoints} has no checkpoints")
    return history


async def _verify(program: str, outcome: Outcome, history: History | None, folder: Path) -> Checked:
    with _progress() as progress:
        async with async_client_here() as client:
            proof = client.stub(ProofServiceStub)
            task = progress.add_task(program, total=0)
            ahead = 0

            def taken(part: VerifyProgramResponse) -> None:
                nonlocal ahead
                outcome.add(part)
                ahead += part.total
                progress.update(task, total=ahead, advance=part.accounts)

            await side_by_side(
                _shard(proof, program, outcome, shard, taken)
                for shard, place in enumerate(outcome.places)
                if place is not None
            )
            if history is None:
                return Checked()
            total = sum(len(each) for each in history.stretches.values())
            stretches = progress.add_task("checkpoints", total=total)
            return await check_history(
                proof,
                history,
                folder,
                outcome.shown,
                lambda: progress.advance(stretches),
            )


async def _shard(
    proof: "ProofServiceAsyncStub",
    program: str,
    outcome: Outcome,
    shard: int,
    taken: Callable[[VerifyProgramResponse], None],
) -> None:
    """Verify a shard to its end; a stream that breaks is begun again where it was."""
    resumed = 0
    seen = False
    while True:
        bucket, account = outcome.places[shard] or (0, 0)
        request = VerifyProgramRequest(
            program=program,
            shards=len(outcome.places),
            shard=shard,
            after_bucket=bucket,
            after_account=account,
        )
        try:
            async for part in proof.VerifyProgram(request):
                if seen:
                    # The accounts ahead were counted when the shard began.
                    part.total = 0
                seen = True
                taken(part)
                outcome.places[shard] = (part.bucket, part.account)
        except grpc.RpcError as error:
            code = getattr(error, "code", lambda: None)()
            if not seen or code is not grpc.StatusCode.UNAVAILABLE or resumed == RESUMES_MAX:
                raise
            resumed += 1
            await asyncio.sleep(RESUME_SECONDS)
            continue
        outcome.places[shard] = None
        return


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
    )
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)

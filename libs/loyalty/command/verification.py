"""`loyalty verify`: the ledger recomputes every account of a program from its entries."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from loyalty.calls import RetryPolicy, credential_of, options_of
from loyalty.client import AsyncClient
from loyalty.command.output import err, out
from loyalty.ledger.v1.account_pb2 import ListMembersRequest
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.ledger_pb2 import VerifyAccountRequest, VerifyAccountResponse
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub

DISAGREES = 1
PAGE = 1000
# A long history takes its time to be read.
DEADLINE_SECONDS = 60.0


@dataclass(slots=True)
class Outcome:
    """What a verification found: how much was read, and the first disagreements, one line each."""

    members: int = 0
    entries: int = 0
    wrong: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, member: str, answer: VerifyAccountResponse, shown: int) -> None:
        """Take in the answer for a member; `shown` bounds the lines that are kept."""
        self.members += 1
        self.entries += answer.entries
        if answer.ok:
            return
        self.wrong += 1
        for one in answer.findings:
            if len(self.lines) < shown:
                self.lines.append(
                    f"{member}: {one.row}, {one.field}: "
                    f"{one.expected} follows from the entries, {one.stored} is stored"
                )
        if not answer.findings and len(self.lines) < shown:
            self.lines.append(f"{member}: disagrees")


def verify(
    program: Annotated[str, typer.Argument(help="The program.")],
    concurrency: Annotated[int, typer.Option(help="Calls at once.", min=1, max=256)] = 16,
    findings: Annotated[int, typer.Option(help="How many findings to print.", min=1)] = 20,
) -> None:
    """Verify every account of a program; exit code 1 where something disagrees."""
    try:
        outcome = asyncio.run(_verify(program, concurrency, findings))
    except ExceptionGroup as group:
        # What went wrong first is what there is to say.
        raise group.exceptions[0] from None
    for line in outcome.lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if outcome.wrong:
        err.print(f"{outcome.wrong:,} of {outcome.members:,} accounts disagree", style="red")
        raise typer.Exit(DISAGREES)
    out.print(f"everything agrees: accounts {outcome.members:,}, entries {outcome.entries:,}")


async def _verify(program: str, concurrency: int, shown: int) -> Outcome:
    """Read the members page by page and verify each, at most `concurrency` at once."""
    options = options_of(os.environ, RetryPolicy(wait_for_ready=False))
    credential = credential_of(os.environ)
    outcome = Outcome()
    members: asyncio.Queue[str | None] = asyncio.Queue(maxsize=PAGE)
    with _progress() as progress:
        task = progress.add_task(program, total=0)
        async with AsyncClient(options, credential) as client, asyncio.TaskGroup() as tasks:
            ledger = client.stub(LedgerServiceStub)

            async def work() -> None:
                while (member := await members.get()) is not None:
                    request = VerifyAccountRequest(program=program, member=member)
                    answer = await ledger.VerifyAccount(request, timeout=DEADLINE_SECONDS)
                    outcome.add(member, answer, shown)
                    progress.advance(task)

            for _ in range(concurrency):
                tasks.create_task(work())
            known = 0
            async for page in _pages(client, program):
                known += len(page)
                progress.update(task, total=known)
                for member in page:
                    await members.put(member)
            for _ in range(concurrency):
                await members.put(None)
    return outcome


async def _pages(client: AsyncClient, program: str) -> AsyncIterator[list[str]]:
    """The members of a program, a page at a time."""
    accounts = client.stub(AccountServiceStub)
    request = ListMembersRequest(program=program, page_size=PAGE)
    while True:
        answer = await accounts.ListMembers(request)
        yield [one.member for one in answer.members]
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
    )
    return Progress(*columns, console=err, transient=True)

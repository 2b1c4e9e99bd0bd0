"""The whole suite as it is run, a file imported into it, and everything that it then says."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import TypeVar

from google.type.date_pb2 import Date

from loyalty.calls import credential_of, options_of
from loyalty.client import AsyncClient
from loyalty.ledger.v1 import account_pb2, ledger_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.resources_pb2 import Balance
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from tests.faults.suite_process import SuiteProcess
from tests.journeys.cdnow_kit import END, MAP, Standing
from tests.loyalty.import_kit import COMMAND, start_import

PORTS = {
    f"LOYALTY_{name}_PORT": "0"
    for name in ("HTTP", "GATEWAY", "LEDGER", "RULES", "TIERS", "AUDIENCE")
}
SERVES = "/members/ada\n"
PAGE = 1000
AT_ONCE = 32

T = TypeVar("T")


class Suite:
    """A running suite and how to call it."""

    def __init__(self, process: SuiteProcess) -> None:
        self.process = process
        self.home = process.home
        ports = json.loads((self.home / "running.json").read_text())["ports"]
        self.ports = {
            name.removeprefix("LOYALTY_").removesuffix("_PORT").lower(): int(port)
            for name, port in ports.items()
        }
        self.environ = {
            "LOYALTY_HOME": str(self.home),
            **{f"LOYALTY_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
        }

    def client(self) -> AsyncClient:
        """A client with the administrator's key."""
        return AsyncClient(options_of(self.environ), credential_of(self.environ))

    def begin_import(self, file: Path, program: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start to import a file of purchases, the clock along with it."""
        return start_import(
            self.ports,
            self.home / "state",
            str(file),
            f"--program={program}",
            f"--map={MAP}",
            "--advance-clock",
            f"--end={END}",
            *arguments,
            LOYALTY_HOME=str(self.home),
        )

    def rows_acknowledged(self) -> int:
        """How far the import that runs, or that was killed, has come."""
        kept = list((self.home / "state" / "imports").glob("*.json"))
        return int(json.loads(kept[0].read_text())["rows"]) if kept else 0

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `loyalty` command."""
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            env={"PYTHONPATH": ":".join(sys.path), "COLUMNS": "120", **self.environ},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@contextmanager
def running_suite() -> Iterator[Suite]:
    """The suite in a home of its own, stopped and gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-cdnow-"))
    folder.chmod(0o711)
    try:
        with SuiteProcess(folder / "home", ["-m", "services"], PORTS) as process:
            process.wait_for(SERVES, 120)
            process.note_processes()
            yield Suite(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def members_of(client: AsyncClient, program: str) -> list[str]:
    """The members of a program."""
    accounts = client.stub(AccountServiceStub)
    request = account_pb2.ListMembersRequest(program=program, page_size=PAGE)
    members: list[str] = []
    while True:
        answer = await accounts.ListMembers(request)
        members += [one.member for one in answer.members]
        if not answer.next_page_token:
            return members
        request.page_token = answer.next_page_token


def pages(members: Sequence[str]) -> Iterator[Sequence[str]]:
    """Members by the thousand."""
    for begin in range(0, len(members), PAGE):
        yield members[begin : begin + PAGE]


async def standings_of(
    client: AsyncClient, program: str, members: Sequence[str]
) -> dict[str, Standing]:
    """Where the suite says that members stand: balances, expirations and tiers."""
    ledger, tiers = client.stub(LedgerServiceStub), client.stub(TierServiceStub)
    standings = {}
    for page in pages(members):
        found = await ledger.BatchGetAccounts(
            ledger_pb2.BatchGetAccountsRequest(program=program, members=page)
        )
        stand = await tiers.BatchGetMemberships(
            tiers_pb2.BatchGetMembershipsRequest(program=program, members=page, brief=True)
        )
        assert not found.missing
        assert not stand.missing
        for account, membership in zip(found.accounts, stand.memberships, strict=True):
            assert account.member == membership.member
            balance = account.balances[0] if account.balances else Balance()
            standing = Standing(
                earned=balance.totals.earned,
                expired=balance.totals.expired,
                tier=membership.tier.tier,
                since=membership.since.ToDatetime(UTC).date(),
            )
            assert balance.available == standing.available, account
            standings[account.member] = standing

    async def expirations(member: str) -> None:
        request = ledger_pb2.ListExpirationsRequest(program=program, member=member, page_size=PAGE)
        answer = await ledger.ListExpirations(request)
        assert not answer.next_page_token
        standings[member].expirations = {
            day_after(one.date): one.points for one in answer.expirations
        }

    await at_once(expirations, members)
    return standings


def day_after(last: Date) -> date:
    """The day on which points die whose last day this is."""
    return date(last.year, last.month, last.day) + timedelta(days=1)


async def at_once(call: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    """Call for every item, some of them at once."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await call(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(work())


async def versions_of(client: AsyncClient, program: str, members: Sequence[str]) -> dict[str, int]:
    """How often each account was changed."""
    ledger = client.stub(LedgerServiceStub)
    found: dict[str, int] = {}
    for page in pages(members):
        answer = await ledger.BatchGetAccounts(
            ledger_pb2.BatchGetAccountsRequest(program=program, members=page)
        )
        found |= {account.member: account.version for account in answer.accounts}
    return found

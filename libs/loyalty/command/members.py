"""`loyalty member show`: what a member has, and the last things that happened."""

from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.table import Table

from loyalty.command.clients import client_here
from loyalty.command.output import moment, out, write
from loyalty.ledger.v1.ledger_pb2 import (
    GetAccountRequest,
    ListEntriesRequest,
    ListExpirationsRequest,
)
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.resources_pb2 import Account, Entry, Expiration

app = typer.Typer(no_args_is_help=True, help="Look at members.")


@app.callback()
def members() -> None:
    """Look at members."""


@app.command()
def show(
    program: Annotated[str, typer.Argument(help="The program.")],
    member: Annotated[str, typer.Argument(help="The member.")],
    entries: Annotated[int, typer.Option(help="How many entries.", min=1, max=1000)] = 10,
    json: Annotated[bool, typer.Option(help="The account as JSON, and nothing else.")] = False,
) -> None:
    """Show a member's balances, next expirations and newest entries."""
    with client_here() as client:
        ledger = client.stub(LedgerServiceStub)
        account = ledger.GetAccount(GetAccountRequest(program=program, member=member))
        if json:
            write(f"{MessageToJson(account)}\n")
            return
        soon = ledger.ListExpirations(
            ListExpirationsRequest(program=program, member=member, page_size=5)
        )
        newest = ledger.ListEntries(
            ListEntriesRequest(program=program, member=member, page_size=entries)
        )
    out.print(_balances(account))
    if soon.expirations:
        out.print(_expirations(list(soon.expirations)))
    out.print(_entries(list(newest.entries)))


def _balances(account: Account) -> Table:
    state = Account.State.Name(account.state).lower()
    table = Table(
        "currency",
        title=f"{account.member} in {account.program}, {state}, version {account.version}",
        title_justify="left",
    )
    for heading in ("available", "pending", "held", "debt"):
        table.add_column(heading, justify="right")
    for balance in account.balances:
        numbers = (balance.available, balance.pending, balance.held, balance.debt)
        table.add_row(balance.currency, *(f"{number:,}" for number in numbers))
    return table


def _expirations(expirations: list[Expiration]) -> Table:
    table = Table("last day", "currency", title="Expires next", title_justify="left")
    table.add_column("points", justify="right")
    for one in expirations:
        day = f"{one.date.year:04}-{one.date.month:02}-{one.date.day:02}"
        table.add_row(day, one.currency, f"{one.points:,}")
    return table


def _entries(entries: list[Entry]) -> Table:
    table = Table("effective (UTC)", "kind", "currency", title="Entries", title_justify="left")
    table.add_column("points", justify="right")
    table.add_column("available after", justify="right")
    for entry in entries:
        table.add_row(
            moment(entry.effective_time),
            _kind(entry),
            entry.currency,
            # Enrolments and counts are about no points, and leave every balance as it is.
            f"{entry.points:+,}" if entry.currency else "",
            f"{entry.after.available:,}" if entry.currency else "",
        )
    return table


def _kind(entry: Entry) -> str:
    kind = Entry.Kind.Name(entry.kind).lower()
    return f"{kind} {entry.counter} {entry.counter_change:+,}" if entry.counter else kind

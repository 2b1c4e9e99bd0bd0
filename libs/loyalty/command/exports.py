"""`loyalty members export`: a program's tables for other systems."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from loyalty.calls import RetryPolicy, credential_of, options_of
from loyalty.client import Client
from loyalty.command.output import err
from loyalty.command.tables import Format, time_text, written_rows
from loyalty.ledger.v1.account_pb2 import ListMembersRequest, Member
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.resources_pb2 import Account

PAGE = 1000
MEMBER_COLUMNS = ("member", "state", "enrol_time", "billing_day", "identifier_kinds")

Program = Annotated[str, typer.Option("--program", help="The program.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file; stdout, if none.")]
Kind = Annotated[Format, typer.Option("--format", help="CSV, or JSON lines.")]

members_app = typer.Typer(no_args_is_help=True, help="Take in and give out members.")


@members_app.callback()
def members() -> None:
    """Take in and give out members."""


def client_here() -> Client:
    """A client as the environment describes it, which does not wait for a ledger that is down."""
    return Client(
        options_of(os.environ, RetryPolicy(wait_for_ready=False)), credential_of(os.environ)
    )


def all_members(client: Client, program: str) -> Iterator[Member]:
    """The members of a program, in order of enrolment."""
    accounts = client.stub(AccountServiceStub)
    request = ListMembersRequest(program=program, page_size=PAGE)
    while True:
        page = accounts.ListMembers(request)
        yield from page.members
        request.page_token = page.next_page_token
        if not request.page_token:
            return


@members_app.command(name="export")
def export_members(program: Program, output: Output = None, kind: Kind = Format.CSV) -> None:
    """Write who is a member, in order of enrolment. Values of identifiers are known to nobody."""
    count = 0
    with client_here() as client, written_rows(output, kind, MEMBER_COLUMNS) as rows:
        for member in all_members(client, program):
            count += 1
            rows.write(
                {
                    "member": member.member,
                    "state": Account.State.Name(member.state).lower(),
                    "enrol_time": time_text(member.enrol_time),
                    "billing_day": member.billing_day or "",
                    "identifier_kinds": " ".join(member.identifier_kinds),
                }
            )
    err.print(f"members {count:,}", highlight=False)

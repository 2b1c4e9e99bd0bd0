"""`loyalty … export`: members, statements and redemptions as tables for other systems."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from loyalty.calls import LoyaltyRefusal
from loyalty.client import Client
from loyalty.command.clients import client_here
from loyalty.command.output import err
from loyalty.command.progress import shown_progress
from loyalty.command.tables import Format, time_text, written_rows
from loyalty.command.times import instant_of, zone_of
from loyalty.ledger.v1.account_pb2 import ListMembersRequest, Member
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.ledger.v1.group_pb2 import ListGroupsRequest
from loyalty.ledger.v1.ledger_pb2 import GetStatementRequest, GetStatementResponse, StatementLine
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2 import GetProgramSettingsRequest
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.ledger.v1.report_pb2 import ListRedemptionsRequest, Redemption
from loyalty.ledger.v1.report_pb2_grpc import ReportServiceStub
from loyalty.ledger.v1.resources_pb2 import Account, Entry

PAGE = 1000
AT_ONCE = 8
AHEAD = 32
"""So many accounts' first pages are asked for before they are written."""
MEMBER_COLUMNS = ("member", "state", "enrol_time", "billing_day", "identifier_kinds")
STATEMENT_COLUMNS = (
    "member", "sequence", "date", "kind", "description", "currency", "points", "balance",
    "available", "reference", "attributed_member", "value", "value_currency", "finance_account",
    "cost_center", "effective_time", "record_time", "posting",
)  # fmt: skip
REDEMPTION_COLUMNS = (
    "record_time", "effective_time", "member", "kind", "currency", "points", "value",
    "value_currency", "finance_account", "cost_center", "reference", "posting", "sequence",
    "related",
)  # fmt: skip

Program = Annotated[str, typer.Option("--program", help="The program.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file; stdout, if none.")]
Kind = Annotated[Format, typer.Option("--format", help="CSV, or JSON lines.")]
From = Annotated[str, typer.Option("--from", help="Recorded from this date or time on.")]
Until = Annotated[str, typer.Option("--until", help="Recorded before this date or time.")]

members_app = typer.Typer(no_args_is_help=True, help="Take in and give out members.")
statements_app = typer.Typer(no_args_is_help=True, help="Give out what changed, line by line.")
redemptions_app = typer.Typer(no_args_is_help=True, help="Give out what was redeemed, to finance.")


@members_app.callback()
def members() -> None:
    """Take in and give out members."""


@statements_app.callback()
def statements() -> None:
    """Give out what changed, line by line."""


@redemptions_app.callback()
def redemptions() -> None:
    """Give out what was redeemed, to finance."""


def all_accounts(client: Client, program: str) -> Iterator[str]:
    """Whoever has an account of its own: members, ids merged into others, groups and fleets."""
    yield from (one.member for one in all_members(client, program, include_merged=True))
    accounts = client.stub(AccountServiceStub)
    request = ListGroupsRequest(program=program, page_size=PAGE)
    while True:
        page = accounts.ListGroups(request)
        yield from (group.group for group in page.groups)
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def all_members(client: Client, program: str, *, include_merged: bool = False) -> Iterator[Member]:
    """The members of a program, in order of enrolment."""
    accounts = client.stub(AccountServiceStub)
    request = ListMembersRequest(program=program, page_size=PAGE, include_merged=include_merged)
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


@statements_app.command(name="export")
def export_statements(
    program: Program,
    member: Annotated[
        list[str] | None, typer.Option(help="Only this member; may be given again.")
    ] = None,
    begin: From = "",
    until: Until = "",
    output: Output = None,
    kind: Kind = Format.CSV,
) -> None:
    """Write the lines of all statements, or of some members', account by account, oldest first.

    Of all: each line once, of the account that it is in, groups and fleets after the members. Of a
    member: of the account that has the member's points.
    Times without an offset are local to the program; a date is its first instant.
    """
    lines = done = 0
    with client_here() as client:
        request = GetStatementRequest(program=program, page_size=PAGE)
        _set_stretch(client, request, begin, until)
        request.own = not member
        wanted = member or list(all_accounts(client, program))
        with (
            written_rows(output, kind, STATEMENT_COLUMNS) as rows,
            shown_progress(err, "statements", len(wanted)) as progress,
        ):
            for one, lines_of in _statements(client, request, wanted, asked_for=bool(member)):
                for line in lines_of:
                    lines += 1
                    rows.write(_line(one, line))
                done += 1
                progress.reached(done)
    err.print(f"statements {done:,}, lines {lines:,}", highlight=False)


def _statements(
    client: Client, request: GetStatementRequest, members: Sequence[str], *, asked_for: bool
) -> Iterator[tuple[str, Iterator[StatementLine]]]:
    """The lines of members' statements, in the order of the members, several asked for at once.

    Whoever is erased while others are written is left out, unless members were `asked_for`.
    """
    ledger = client.stub(LedgerServiceStub)

    def page(member: str, token: str = "") -> GetStatementResponse | None:
        asked = GetStatementRequest()
        asked.CopyFrom(request)
        asked.member, asked.page_token = member, token
        try:
            return ledger.GetStatement(asked)
        except LoyaltyRefusal as refusal:
            if refusal.reason == "MEMBER_NOT_FOUND" and not asked_for:
                return None
            raise

    def lines(member: str, current: GetStatementResponse | None) -> Iterator[StatementLine]:
        while current is not None:
            yield from current.lines
            if not current.next_page_token:
                return
            current = page(member, current.next_page_token)

    coming: deque[tuple[str, Future[GetStatementResponse | None]]] = deque()
    threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="statements")
    try:
        for member in members:
            coming.append((member, threads.submit(page, member)))
            if len(coming) >= AHEAD:
                first, future = coming.popleft()
                yield first, lines(first, future.result())
        while coming:
            first, future = coming.popleft()
            yield first, lines(first, future.result())
    finally:
        # Whoever stops writing waits for nothing that is still to be asked.
        threads.shutdown(wait=False, cancel_futures=True)


def _line(member: str, line: StatementLine) -> dict[str, Any]:
    return {
        "member": member,
        "sequence": line.sequence,
        "date": f"{line.date.year:04}-{line.date.month:02}-{line.date.day:02}",
        "kind": Entry.Kind.Name(line.kind),
        "description": line.description,
        "currency": line.currency,
        "points": line.points,
        "balance": line.balance,
        "available": line.available,
        "reference": line.reference,
        "attributed_member": line.attributed_member,
        "value": line.value.amount,
        "value_currency": line.value.currency,
        "finance_account": line.finance_account,
        "cost_center": line.cost_center,
        "effective_time": time_text(line.effective_time),
        "record_time": time_text(line.record_time),
        "posting": line.posting,
    }


@redemptions_app.command(name="export")
def export_redemptions(
    program: Program,
    begin: From = "",
    until: Until = "",
    output: Output = None,
    kind: Kind = Format.CSV,
) -> None:
    """Write what was redeemed and what came back, with value, account and cost centre.

    Points and value of what came back are negative, so that a column's sum is what finance books.
    Times without an offset are local to the program; a date is its first instant.
    """
    count = 0
    with client_here() as client, written_rows(output, kind, REDEMPTION_COLUMNS) as rows:
        reports = client.stub(ReportServiceStub)
        request = ListRedemptionsRequest(program=program, page_size=PAGE)
        _set_stretch(client, request, begin, until)
        while True:
            page = reports.ListRedemptions(request)
            for each in page.redemptions:
                count += 1
                rows.write(_redemption(each))
            request.page_token = page.next_page_token
            if not request.page_token:
                break
    err.print(f"redemptions {count:,}", highlight=False)


def _redemption(each: Redemption) -> dict[str, Any]:
    return {
        "record_time": time_text(each.record_time),
        "effective_time": time_text(each.effective_time),
        "member": each.member,
        "kind": Entry.Kind.Name(each.kind),
        "currency": each.currency,
        "points": each.points,
        "value": each.value.amount,
        "value_currency": each.value.currency,
        "finance_account": each.finance_account,
        "cost_center": each.cost_center,
        "reference": each.reference,
        "posting": each.posting,
        "sequence": each.sequence,
        "related": each.related or "",
    }


def _set_stretch(
    client: Client, request: GetStatementRequest | ListRedemptionsRequest, begin: str, until: str
) -> None:
    """Set the times of a request. ValueError where they are none."""
    if not begin and not until:
        return
    settings = client.stub(ProgramServiceStub).GetProgramSettings(
        GetProgramSettingsRequest(program=request.program)
    )
    zone = zone_of(settings.program.time_zone)
    if begin:
        request.start_time.FromDatetime(instant_of(begin, zone))
    if until:
        request.end_time.FromDatetime(instant_of(until, zone))

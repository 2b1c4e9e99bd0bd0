"""The `loyalty` command: tokens, members, imports and checks of a program; it speaks gRPC only.

Credentials come from LOYALTY_TOKEN, LOYALTY_API_KEY or `$LOYALTY_HOME/admin.key`, addresses from
LOYALTY_<SERVICE>_ADDRESS or LOYALTY_<SERVICE>_PORT. Exit codes: 0 done, 1 the ledger disagrees with
itself, 2 wrong usage, 3 refused, 4 a service could not be reached; 130 and 141 as the shell has
them, where Ctrl-C or a reader that left, such as `head`, ended it.
"""

import sys

import typer

from loyalty.command.checkpointing import checkpoint
from loyalty.command.events import app as events_app
from loyalty.command.exports import members_app, redemptions_app, statements_app
from loyalty.command.member_import import import_ as import_members
from loyalty.command.members import app as member_app
from loyalty.command.output import say_failures
from loyalty.command.tokens import token
from loyalty.command.verification import verify

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Tokens, members, imports and checks."
)
app.command()(token)
app.add_typer(events_app, name="events")
app.add_typer(member_app, name="member")
members_app.command(name="import")(import_members)
app.add_typer(members_app, name="members")
app.add_typer(statements_app, name="statements")
app.add_typer(redemptions_app, name="redemptions")
app.command()(verify)
app.command()(checkpoint)


def main() -> None:
    """Run the command; the entry point of the wheel."""
    with say_failures():
        app()
    sys.exit(0)

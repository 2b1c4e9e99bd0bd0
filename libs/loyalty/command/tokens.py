"""`loyalty token`: a short-lived token for stubs, curl and load tests."""

import os
from typing import Annotated

import typer

from loyalty.calls import Token, credential_of
from loyalty.command.clients import client_here
from loyalty.command.output import write
from loyalty.gateway.v1.credential_pb2 import IssueTokenRequest
from loyalty.gateway.v1.credential_pb2_grpc import CredentialServiceStub


def token(
    lifetime: Annotated[int, typer.Option(help="Seconds, 1 to 3600.", min=1, max=3600)] = 900,
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this scope; may be given again.")
    ] = None,
    member: Annotated[str, typer.Option(help="Speak for this member; needs --program.")] = "",
    program: Annotated[str, typer.Option(help="The member's program.")] = "",
) -> None:
    """Print a token that every service verifies, issued by the gateway for the credential here."""
    if bool(member) != bool(program):
        raise typer.BadParameter("--member and --program go together")
    request = IssueTokenRequest(
        lifetime_seconds=lifetime, scopes=scope or [], member=member, program=program
    )
    credential = credential_of(os.environ)
    secret = credential.token if isinstance(credential, Token) else credential.key
    # The gateway takes the key itself here: the token to print is the first one that is needed.
    with client_here(Token(secret)) as client:
        answer = client.stub(CredentialServiceStub).IssueToken(request)
    write(f"{answer.token}\n")

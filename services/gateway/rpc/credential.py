"""CredentialService: turns a credential into a token."""

import time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.call import current_call
from chassis.identity import current_identity
from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc
from services.gateway.operations.issue_token import IssueToken


class CredentialServicer(credential_pb2_grpc.CredentialServiceServicer):
    """Serves `loyalty.gateway.v1.CredentialService`."""

    def __init__(self, issue: IssueToken) -> None:
        self._issue = issue

    async def IssueToken(
        self, request: credential_pb2.IssueTokenRequest, context: Any
    ) -> credential_pb2.IssueTokenResponse:
        """Issue a short-lived token."""
        call = current_call()
        assert call is not None
        issued = self._issue(
            current_identity(),
            call.credential_expires,
            lifetime_seconds=request.lifetime_seconds,
            scopes=frozenset(request.scopes),
            member=request.member,
            program=request.program,
            now=time.time(),
        )
        return credential_pb2.IssueTokenResponse(
            token=issued.token, expire_time=Timestamp(seconds=issued.expires)
        )

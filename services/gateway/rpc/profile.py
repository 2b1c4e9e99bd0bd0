"""ProfileService: what the suite knows of a member, gathered in parallel."""

import asyncio
import time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.call import current_call, outgoing_metadata, remaining_seconds
from loyalty.gateway.v1 import profile_pb2, profile_pb2_grpc
from services.gateway.operations.admit import Credentials
from services.gateway.peers.ledger import Ledger

_EXPIRATIONS = 20


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Serves `loyalty.gateway.v1.ProfileService`; a part may take `part_seconds` at most."""

    def __init__(self, ledger: Ledger, credentials: Credentials, part_seconds: float) -> None:
        self._ledger = ledger
        self._credentials = credentials
        self._part_seconds = part_seconds

    async def GetProfile(
        self, request: profile_pb2.GetProfileRequest, context: Any
    ) -> profile_pb2.Profile:
        """Answer a member's profile."""
        program, member = request.program, request.member
        # Parts have a little less time than the caller, so that the rest is still answered.
        seconds = min(self._part_seconds, remaining_seconds() * 0.9)
        metadata = self._metadata()
        account, expirations = await asyncio.gather(
            self._ledger.account(program, member, seconds, metadata),
            self._ledger.expirations(program, member, _EXPIRATIONS, seconds, metadata),
        )
        profile = profile_pb2.Profile(
            program=program,
            member=member,
            account=account,
            read_time=Timestamp(seconds=int(time.time())),
        )
        if account is None:
            profile.unavailable.append(profile_pb2.Profile.ACCOUNT)
        if expirations is None:
            profile.unavailable.append(profile_pb2.Profile.EXPIRATIONS)
        else:
            profile.expirations.extend(expirations.expirations)
        return profile

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The trace, and a token where the caller came with an API key."""
        call = current_call()
        authorization = call.authorization if call is not None else None
        admitted = self._credentials.admit(authorization).authorization
        others = [pair for pair in outgoing_metadata() if pair[0] != "authorization"]
        return (("authorization", admitted), *others)

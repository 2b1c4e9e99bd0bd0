"""ProfileService: what the suite knows of a member, gathered in parallel."""

import asyncio
import time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.call import remaining_seconds
from loyalty.gateway.v1 import profile_pb2, profile_pb2_grpc
from services.gateway.operations.admit import Credentials
from services.gateway.peers.audience import Audience
from services.gateway.peers.ledger import Ledger
from services.gateway.peers.tiers import Tiers
from services.gateway.rpc.calls import calling

_EXPIRATIONS = 20
_Profile = profile_pb2.Profile


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Serves `loyalty.gateway.v1.ProfileService`; a part may take `part_seconds` at most."""

    def __init__(
        self,
        ledger: Ledger,
        tiers: Tiers,
        audience: Audience,
        credentials: Credentials,
        part_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._tiers = tiers
        self._audience = audience
        self._credentials = credentials
        self._part_seconds = part_seconds

    async def GetProfile(
        self, request: profile_pb2.GetProfileRequest, context: Any
    ) -> profile_pb2.Profile:
        """Answer a member's profile."""
        # Parts have a little less time than the caller, so that the rest is still answered.
        seconds = min(self._part_seconds, remaining_seconds() * 0.9)
        asked = (request.program, request.member)
        limits = (seconds, calling(self._credentials))
        account, expirations, membership, audiences = await asyncio.gather(
            self._ledger.account(*asked, *limits),
            self._ledger.expirations(*asked, _EXPIRATIONS, *limits),
            self._tiers.membership(*asked, *limits),
            self._audience.audiences(*asked, *limits),
        )
        profile = _Profile(
            program=request.program,
            member=request.member,
            account=account,
            membership=membership,
            read_time=Timestamp(seconds=int(time.time())),
        )
        if expirations is not None:
            profile.expirations.extend(expirations.expirations)
        if audiences is not None:
            profile.audiences_freshness.CopyFrom(audiences.freshness)
            for each in audiences.audiences:
                profile.audiences.add(audience=each.audience, display_name=each.display_name)
        parts = {
            _Profile.ACCOUNT: account,
            _Profile.EXPIRATIONS: expirations,
            _Profile.MEMBERSHIP: membership,
            _Profile.AUDIENCES: audiences,
        }
        profile.unavailable.extend(part for part, had in parts.items() if had is None)
        return profile

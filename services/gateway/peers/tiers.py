"""The tiers, as far as the gateway asks them for itself."""

import grpc.aio

from chassis.call import log_fields
from chassis.channels import Metadata
from chassis.peers import refusal_of_error
from loyalty.tiers.v1 import tiers_pb2
from services.gateway.peers.channels import Channels

NAME = "tiers"


class Tiers:
    """Reads of one member. An answer of None means that it cannot be had.

    Whether there is such a member is the ledger's to say.
    """

    def __init__(self, channels: Channels) -> None:
        # Once: a profile without this part at once is better than one that waits for it.
        method = "/loyalty.tiers.v1.TierService/GetMembership"
        self._membership = channels.unary(NAME, method, tiers_pb2.Membership, once=True)

    async def membership(
        self, program: str, member: str, seconds: float, metadata: Metadata
    ) -> tiers_pb2.Membership | None:
        """Where a member stands, with the way to the next tier."""
        request = tiers_pb2.GetMembershipRequest(program=program, member=member)
        try:
            return await self._membership(request, seconds, metadata)
        except grpc.aio.AioRpcError as error:
            log_fields(tiers=refusal_of_error(error, NAME).reason)
            return None

"""The audiences, as far as the gateway asks for them itself."""

import grpc.aio

from chassis.call import log_fields
from chassis.channels import Metadata
from chassis.peers import refusal_of_error
from loyalty.audience.v1 import audience_pb2
from services.gateway.peers.channels import Channels

NAME = "audience"
# As many as a program can have, so that one page has them all.
_ALL = 1000


class Audience:
    """Reads of one member. An answer of None means that it cannot be had.

    Whether there is such a member is the ledger's to say: who was enrolled a moment ago is not
    known here yet.
    """

    def __init__(self, channels: Channels) -> None:
        # Once: a profile without this part at once is better than one that waits for it.
        method = "/loyalty.audience.v1.AudienceService/ListMemberAudiences"
        self._audiences = channels.unary(
            NAME, method, audience_pb2.ListMemberAudiencesResponse, once=True
        )

    async def audiences(
        self, program: str, member: str, seconds: float, metadata: Metadata
    ) -> audience_pb2.ListMemberAudiencesResponse | None:
        """The audiences that a member belongs to, and how current that is."""
        request = audience_pb2.ListMemberAudiencesRequest(
            program=program, member=member, page_size=_ALL
        )
        try:
            return await self._audiences(request, seconds, metadata)
        except grpc.aio.AioRpcError as error:
            log_fields(audience=refusal_of_error(error, NAME).reason)
            return None

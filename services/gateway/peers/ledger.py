"""The ledger, as far as the gateway asks it for itself."""

import grpc.aio

from chassis.channels import Metadata
from chassis.peers import refusal_of_error
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.gateway.peers.channels import Channels

NAME = "ledger"
_SERVICE = "/loyalty.ledger.v1.LedgerService"
# The part cannot be had just now; every other refusal is about the request and concerns all parts.
_PASSING = frozenset(
    {
        "DEADLINE_PASSED",
        "DEPENDENCY_UNAVAILABLE",
        "FAULT",
        "METHOD_NOT_SERVED",
        "OVERLOADED",
        "QUOTA_EXCEEDED",
    }
)


class Ledger:
    """Reads of one member. An answer of None means that it cannot be had just now."""

    def __init__(self, channels: Channels) -> None:
        self._account = channels.unary(NAME, f"{_SERVICE}/GetAccount", resources_pb2.Account)
        self._expirations = channels.unary(
            NAME, f"{_SERVICE}/ListExpirations", ledger_pb2.ListExpirationsResponse
        )

    async def account(
        self, program: str, member: str, seconds: float, metadata: Metadata
    ) -> resources_pb2.Account | None:
        """What a member has. `grpc.aio.AioRpcError` where the ledger refuses."""
        request = ledger_pb2.GetAccountRequest(program=program, member=member)
        try:
            return await self._account(request, seconds, metadata)
        except grpc.aio.AioRpcError as error:
            _raise_unless_passing(error)
            return None

    async def expirations(
        self, program: str, member: str, count: int, seconds: float, metadata: Metadata
    ) -> ledger_pb2.ListExpirationsResponse | None:
        """The next `count` expirations. `grpc.aio.AioRpcError` where the ledger refuses."""
        request = ledger_pb2.ListExpirationsRequest(program=program, member=member, page_size=count)
        try:
            return await self._expirations(request, seconds, metadata)
        except grpc.aio.AioRpcError as error:
            _raise_unless_passing(error)
            return None


def _raise_unless_passing(error: grpc.aio.AioRpcError) -> None:
    if refusal_of_error(error, NAME).reason not in _PASSING:
        raise error

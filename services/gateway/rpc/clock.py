"""`ProgramService.AdvanceClock` over all services; the ledger's own moves the ledger alone."""

from datetime import UTC
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.ledger.v1 import program_pb2
from services.gateway.operations.admit import Credentials
from services.gateway.operations.advance_clock import AdvanceClock
from services.gateway.rpc.calls import calling

SERVICE = "loyalty.ledger.v1.ProgramService"


class ClockServicer:
    """Serves one method of the ledger's `ProgramService`; a call may take `most_seconds`."""

    def __init__(
        self, advance: AdvanceClock, credentials: Credentials, most_seconds: float
    ) -> None:
        self._advance = advance
        self._credentials = credentials
        self._most_seconds = most_seconds

    async def AdvanceClock(
        self, request: program_pb2.AdvanceClockRequest, context: Any
    ) -> program_pb2.AdvanceClockResponse:
        """Move a sandbox's clock in every service."""
        # Not the server's default: a year of a program takes longer than an ordinary call.
        given = context.time_remaining()
        seconds = self._most_seconds if given is None else min(given, self._most_seconds)
        now, settled = await self._advance(
            request.program,
            request.time.ToDatetime(UTC),
            seconds=seconds,
            metadata=calling(self._credentials),
        )
        time = Timestamp()
        time.FromDatetime(now)
        return program_pb2.AdvanceClockResponse(time=time, settled_accounts=settled)


def add_clock_to_server(servicer: ClockServicer, server: grpc.aio.Server) -> None:
    """Register the one method; all others of the service are not served here."""
    method = grpc.unary_unary_rpc_method_handler(
        servicer.AdvanceClock,
        request_deserializer=program_pb2.AdvanceClockRequest.FromString,
        response_serializer=program_pb2.AdvanceClockResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(SERVICE, {"AdvanceClock": method})
    server.add_generic_rpc_handlers((handlers,))

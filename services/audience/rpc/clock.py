"""`ClockService`: this service's part of a sandbox's time."""

from loyalty.common.v1 import clock_pb2
from loyalty.common.v1.clock_pb2_grpc import ClockServiceServicer
from services.audience.operations.catch_up import catch_up, check_sandbox
from services.audience.operations.context import AudienceContext
from services.audience.rpc.calls import Context, current_caller
from services.audience.rpc.translate import instant_of, timestamp_of


class ClockServicer(ClockServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: AudienceContext) -> None:
        self._context = context

    async def CatchUp(
        self, request: clock_pb2.CatchUpRequest, context: Context
    ) -> clock_pb2.CatchUpResponse:
        """Apply everything that was recorded before the call."""
        now, done = await catch_up(
            self._context, current_caller(), request.program, instant_of(request.time)
        )
        return clock_pb2.CatchUpResponse(time=timestamp_of(now), done=done)

    async def GetNextDue(
        self, request: clock_pb2.GetNextDueRequest, context: Context
    ) -> clock_pb2.GetNextDueResponse:
        """Nothing falls due here: profiles change when a stream says so."""
        await check_sandbox(self._context, current_caller(), request.program)
        return clock_pb2.GetNextDueResponse()

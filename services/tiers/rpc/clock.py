"""`ClockService`: the tiers' part of a sandbox's time."""

from loyalty.common.v1 import clock_pb2
from loyalty.common.v1.clock_pb2_grpc import ClockServiceServicer
from services.tiers.operations.catch_up import catch_up, sandbox_time
from services.tiers.operations.context import TiersContext
from services.tiers.rpc.calls import Context, program_of
from services.tiers.rpc.translate import stamp


class ClockServicer(ClockServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: TiersContext) -> None:
        self._tiers = context

    async def CatchUp(
        self, request: clock_pb2.CatchUpRequest, context: Context
    ) -> clock_pb2.CatchUpResponse:
        """Apply everything that the ledger recorded before the call."""
        now, done = await catch_up(self._tiers, program_of(request.program))
        return clock_pb2.CatchUpResponse(time=stamp(now), done=done)

    async def GetNextDue(
        self, request: clock_pb2.GetNextDueRequest, context: Context
    ) -> clock_pb2.GetNextDueResponse:
        """Nothing falls due by time alone."""
        await sandbox_time(self._tiers, program_of(request.program))
        return clock_pb2.GetNextDueResponse()

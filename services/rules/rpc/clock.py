"""`ClockService`: in rules nothing falls due; what is unfinished is finished."""

from loyalty.common.v1 import clock_pb2
from loyalty.common.v1.clock_pb2_grpc import ClockServiceServicer
from services.rules.operations.context import RulesContext
from services.rules.operations.redrive import catch_up, sandbox_now
from services.rules.rpc.calls import Context, current_caller, posting_caller
from services.rules.rpc.translate import stamp


class ClockServicer(ClockServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: RulesContext) -> None:
        self._rules = context

    async def CatchUp(
        self, request: clock_pb2.CatchUpRequest, context: Context
    ) -> clock_pb2.CatchUpResponse:
        """Finish the events of a sandbox that were logged and not finished."""
        now, done = await catch_up(self._rules, posting_caller(), request.program)
        return clock_pb2.CatchUpResponse(time=stamp(now), done=done)

    async def GetNextDue(
        self, request: clock_pb2.GetNextDueRequest, context: Context
    ) -> clock_pb2.GetNextDueResponse:
        """Answer that nothing falls due by time alone."""
        await sandbox_now(self._rules, current_caller(), request.program)
        return clock_pb2.GetNextDueResponse()

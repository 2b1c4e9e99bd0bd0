"""`ClockService`: the ledger's part of a sandbox's time."""

from loyalty.common.v1 import clock_pb2
from loyalty.common.v1.clock_pb2_grpc import ClockServiceServicer
from services.ledger.operations import advance_clock
from services.ledger.operations.context import ProgramContext
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.program_translate import instant_of, timestamp_of


class ClockServicer(ClockServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: ProgramContext) -> None:
        self._context = context

    async def CatchUp(
        self, request: clock_pb2.CatchUpRequest, context: Context
    ) -> clock_pb2.CatchUpResponse:
        """Do everything that is due up to a time."""
        now, done = await advance_clock.catch_up(
            self._context, current_caller(), request.program, instant_of(request.time)
        )
        return clock_pb2.CatchUpResponse(time=timestamp_of(now), done=done)

    async def GetNextDue(
        self, request: clock_pb2.GetNextDueRequest, context: Context
    ) -> clock_pb2.GetNextDueResponse:
        """Answer when something falls due next."""
        due = await advance_clock.next_due(self._context, current_caller(), request.program)
        return clock_pb2.GetNextDueResponse(time=None if due is None else timestamp_of(due))

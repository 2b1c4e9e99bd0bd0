"""`EventService`: events in, points and counts out, and the log of them."""

from collections.abc import Iterable
from typing import Any

from chassis.call import log_fields
from chassis.paging import decode_token, encode_token, page_size
from chassis.refusals import status_of
from kernel.refusals import FieldViolation, Refusal
from loyalty.rules.v1 import events_pb2
from loyalty.rules.v1.events_pb2_grpc import EventServiceServicer
from services.rules.operations import read_events
from services.rules.operations.context import RulesContext
from services.rules.operations.outcomes import Outcome
from services.rules.operations.submit import submit_event, submit_events
from services.rules.peers.event_message import event_of
from services.rules.rpc import translate
from services.rules.rpc.calls import Context, current_caller, posting_caller

LINES_MAX = 5_000


def batch_shape(request: Any) -> Iterable[FieldViolation]:
    """What an annotation cannot say of a batch."""
    if sum(len(event.lines) for event in request.events) > LINES_MAX:
        yield FieldViolation("events", f"hold more than {LINES_MAX} lines")


SHAPES = {"/loyalty.rules.v1.EventService/BatchSubmitEvents": batch_shape}


class EventServicer(EventServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: RulesContext) -> None:
        self._rules = context

    async def SubmitEvent(
        self, request: events_pb2.SubmitEventRequest, context: Context
    ) -> events_pb2.EventOutcome:
        """Take in one event."""
        log_fields(member=request.event.member, request_id=request.event.id)
        outcome = await submit_event(
            self._rules, posting_caller(), request.program, event_of(request.event)
        )
        return translate.outcome_message(request.program, outcome)

    async def BatchSubmitEvents(
        self, request: events_pb2.BatchSubmitEventsRequest, context: Context
    ) -> events_pb2.BatchSubmitEventsResponse:
        """Take in events, each with its own result."""
        results = await submit_events(
            self._rules,
            posting_caller(),
            request.program,
            [event_of(event) for event in request.events],
            brief=request.brief,
        )
        return events_pb2.BatchSubmitEventsResponse(
            results=[
                events_pb2.BatchSubmitEventsResult(status=status_of(result))
                if isinstance(result, Refusal)
                else events_pb2.BatchSubmitEventsResult(
                    outcome=translate.outcome_message(request.program, result, brief=request.brief)
                )
                for result in results
            ]
        )

    async def GetEvent(
        self, request: events_pb2.GetEventRequest, context: Context
    ) -> events_pb2.EventOutcome:
        """Answer one event."""
        found = await read_events.get_event(
            self._rules, current_caller(), request.program, request.event
        )
        return translate.outcome_message(request.program, Outcome(found))

    async def ListEvents(
        self, request: events_pb2.ListEventsRequest, context: Context
    ) -> events_pb2.ListEventsResponse:
        """List events, the latest logged first."""
        caller = current_caller()
        query = {
            "list": "events",
            "organization": caller.organization,
            "program": request.program,
            "member": request.member,
            "type": request.type,
        }
        position = decode_token(request.page_token, query, (int, str))
        before = (int(position[0]), str(position[1])) if position else read_events.FIRST_PAGE
        found, more = await read_events.list_events(
            self._rules,
            caller,
            request.program,
            request.member,
            request.type,
            before,
            page_size(request.page_size),
        )
        token = encode_token(query, (found[-1].number, found[-1].id)) if more else ""
        return events_pb2.ListEventsResponse(
            events=[translate.outcome_message(request.program, Outcome(each)) for each in found],
            next_page_token=token,
        )

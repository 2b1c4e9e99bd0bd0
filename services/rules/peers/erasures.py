"""Who was erased, as the ledger tells, and what is left of events that name them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import grpc.aio

from chassis.channels import Metadata
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.rules.v1 import events_pb2

STREAM: Final = "ledger erasures"


@dataclass(frozen=True, slots=True)
class Erased:
    """That a member's id is nobody's since an instant of the ledger's clock."""

    organization: str
    member: str
    time: datetime


class Erasures:
    """The part of the ledger's stream that says who was erased."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # The stub's types are those of the synchronous channel, too.
        self._ledger: Any = LedgerServiceStub(channel)

    def watch(self, cursors: Mapping[int, int], metadata: Metadata) -> Any:
        """The stream after the cursors, as a call of gRPC."""
        request = ledger_pb2.WatchChangesRequest(
            cursors=dict(cursors), kinds=[resources_pb2.Change.MEMBER_ERASED]
        )
        return self._ledger.WatchChanges(request, metadata=metadata)


def erased_of(changes: Iterable[resources_pb2.Change]) -> list[Erased]:
    """Who was erased, as far as the ledger still knows."""
    return [
        Erased(
            change.organization,
            change.member_erased.member,
            change.record_time.ToDatetime(tzinfo=UTC),
        )
        for change in changes
        if change.WhichOneof("fact") == "member_erased" and change.member_erased.member
    ]


def nobodys_content(event: str, event_type: str) -> bytes:
    """What the log keeps of an event whose member is gone: which one it was, and of what type."""
    return events_pb2.Event(id=event, type=event_type).SerializeToString(deterministic=True)


def nobodys_posting(posting: bytes) -> bytes:
    """A posting as the ledger answers it once its member is gone: it names nobody."""
    message = resources_pb2.Posting.FromString(posting)
    message.member = message.account_member = ""
    for entry in message.entries:
        entry.attributed_member = entry.counterpart = ""
    return message.SerializeToString(deterministic=True)

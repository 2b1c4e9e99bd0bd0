"""Events between messages and the domain, and the bytes that the log keeps of them."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal

from kernel.ids import microseconds
from loyalty.common.v1 import money_pb2
from loyalty.ledger.v1 import ledger_pb2
from loyalty.rules.v1 import events_pb2
from services.rules.domain.events import Event, Money

_DIGEST_BYTES = 16


def event_of(message: events_pb2.Event) -> Event:
    """An event as it is sent. Its digest is of the canonical message, the time as given."""
    content = message.SerializeToString(deterministic=True)
    return Event(
        id=message.id,
        type=message.type,
        member=message.member,
        effective_time=_time(message),
        amount=_money(message.amount) if message.HasField("amount") else None,
        lines=tuple((line.line, _money(line.amount)) for line in message.lines),
        store=message.store,
        content=content,
        digest=hashlib.sha256(content).digest()[:_DIGEST_BYTES],
    )


def event_of_content(content: bytes) -> Event:
    """An event as the log keeps it."""
    return event_of(events_pb2.Event.FromString(content))


def logged_at(post: bytes, instant: datetime) -> bytes:
    """A request of the ledger, as it is kept, that says when its event was logged."""
    late = ledger_pb2.PostRequest()
    micros = microseconds(instant)
    late.logged_time.seconds, late.logged_time.nanos = (
        micros // 1_000_000,
        micros % 1_000_000 * 1_000,
    )
    # The bytes of two messages are those of one that has the fields of both.
    return post + late.SerializeToString()


def _time(message: events_pb2.Event) -> datetime | None:
    if not message.HasField("effective_time"):
        return None
    return message.effective_time.ToDatetime(tzinfo=UTC)


def _money(message: money_pb2.Money) -> Money:
    return Money(Decimal(message.amount), message.currency)

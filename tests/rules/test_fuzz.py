"""Whatever is sent to any method of rules is answered, or refused with a reason; never a fault."""

import random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.refusals import error_info, status_of_error
from loyalty.common.v1 import clock_pb2, clock_pb2_grpc
from loyalty.rules.v1 import earning_pb2, earning_pb2_grpc, events_pb2, events_pb2_grpc
from tests.rules.kit import PROGRAM, START, Suite

REQUESTS = 300
BROKEN = {"FAULT", "DEPENDENCY_UNAVAILABLE", "NO REASON"}
TEXTS = (
    *("", "p1", "nowhere", "m1", "e1", "purchase", "qr_scan", "points_expired", "base", "r1"),
    *("1", "0", "0.1", "-1", "12.345", "999999999999999.999999999", "1e5", "NaN", "٣", "USD"),
    *("XYZ", "a\x00b", "' OR 1=1 --", "%s%n", "𝒳" * 40, "x" * 3000, "../..", "points", "never"),
    *("ruleset-0", "rule-1", "display_name", "points.points", "AAAAAAAAAAAAAAAAAAAA"),
)
# Most fields get something that fits their name, so that requests come past their shape.
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "program": (PROGRAM,),
    "member": ("m1", "m2"),
    "id": ("e1", "e2", "e3", "e4"),
    "event": ("e1", "e9"),
    "rule": ("r1", "r2"),
    "type": ("purchase", "qr_scan", "page_view"),
    "event_type": ("", "purchase", "bid_won"),
    "line": ("1", "2", "3"),
    "amount": ("1", "0", "12.34", "999999.99", "0.001"),
    "points": ("1", "0.5", "12"),
    "per_amount": ("", "1", "0"),
    "minimum_amount": ("", "10"),
    "quantity": (0, 1),
    "currency": ("", "USD", "points"),
    "expiry": ("", "never"),
    "display_name": ("", "One"),
    "store": ("", "s"),
    "channel": ("", "web"),
    "product": ("", "p"),
    "page_size": (0, 1, 50),
    "page_token": ("",),
    "etag": ("",),
    "paths": ("display_name", "points", "tier_rate"),
    "categories": ("c",),
    "rounding": (0, 1, 2, 3),
    "category": (0, 1, 8),
    "nanos": (0,),
    "seconds": (1_700_000_000,),
}
NUMBERS = (0, 1, 2, 3, -1, 7, 50, 1000, 1001, 10**12, 2**31 - 1, 2**63 - 1, -(2**63))
NEEDED = {
    "program",
    "id",
    "type",
    "member",
    "event",
    "events",
    "line",
    "amount",
    "points",
    "rule",
    "earning_rule",
    "event_points",
    "time",
}
METHODS: list[tuple[Any, str, type[Message]]] = [
    *(
        (stub, method.name, getattr(module, method.input_type.name))
        for module, stub, service in (
            (earning_pb2, earning_pb2_grpc.EarningServiceStub, "EarningService"),
            (events_pb2, events_pb2_grpc.EventServiceStub, "EventService"),
            (clock_pb2, clock_pb2_grpc.ClockServiceStub, "ClockService"),
        )
        for method in module.DESCRIPTOR.services_by_name[service].methods
    )
]


def fill(message: Any, chance: random.Random, depth: int = 0) -> None:
    """Set some fields of a message to whatever fits their type."""
    descriptor: Descriptor = message.DESCRIPTOR
    for field in descriptor.fields:
        if chance.random() < (0.1 if field.name in NEEDED else 0.6):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(chance.choice((0, 1, 60))):
                getattr(message, field.name)[str(chance.random())] = chance.choice(TEXTS)
        elif field.message_type is not None:
            several = range(chance.choice((0, 1, 2, 5))) if field.is_repeated else (0,)
            for _ in several:
                inner = getattr(message, field.name)
                if field.is_repeated:
                    inner = inner.add()
                else:
                    inner.SetInParent()
                if depth < 5:
                    fill(inner, chance, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(
                value(field, chance) for _ in range(chance.choice((0, 1, 3)))
            )
        else:
            setattr(message, field.name, value(field, chance))
    if descriptor.full_name == "google.protobuf.Timestamp" and chance.random() < 0.7:
        message.FromDatetime(START)


def value(field: FieldDescriptor, chance: random.Random) -> Any:
    """A value of a plain field."""
    fits = PLAUSIBLE.get(field.name)
    if fits is not None and chance.random() < 0.97:
        picked = chance.choice(fits)
        if isinstance(picked, str) == (field.type == FieldDescriptor.TYPE_STRING):
            return picked
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(TEXTS)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type == FieldDescriptor.TYPE_ENUM:
        return chance.choice((0, 1, 2, 3, 99, -1))
    bits = 31 if field.type == FieldDescriptor.TYPE_INT32 else 63
    return max(-(2**bits), min(2**bits - 1, chance.choice(NUMBERS)))


@pytest.mark.parametrize("place", range(len(METHODS)))
async def test_random_requests_are_answered_or_refused(shared: Suite, place: int) -> None:
    stub, name, request_type = METHODS[place]
    call = getattr(stub(shared.rules.channel), name)
    chance = random.Random(f"{name} 1")
    answered = 0
    for _ in range(REQUESTS):
        request = request_type()
        fill(request, chance)
        reasons = await reasons_of(call(request))
        answered += reasons == [""]
        assert not BROKEN & set(reasons), (request, reasons)
    print(f"{name}: {answered} of {REQUESTS} answered")
    assert await shared.rows.fetchval("SELECT count(*) FROM event WHERE state < 3") == 0


async def reasons_of(call: Any) -> list[str]:
    """Why a call, or the items of a batch, were refused; empty where they were not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        info = error_info(status_of_error(error, "rules"))
        return ["NO REASON" if info is None else info.reason]
    infos = [error_info(each.status) for each in getattr(answer, "results", ())]
    return [info.reason for info in infos if info is not None] or [""]


async def test_bytes_that_are_no_message_are_refused(shared: Suite) -> None:
    for stub, name, _ in METHODS:
        service = {
            earning_pb2_grpc.EarningServiceStub: "loyalty.rules.v1.EarningService",
            events_pb2_grpc.EventServiceStub: "loyalty.rules.v1.EventService",
            clock_pb2_grpc.ClockServiceStub: "loyalty.common.v1.ClockService",
        }[stub]
        call: Any = shared.rules.channel.unary_unary(f"/{service}/{name}")
        for raw in (b"\xff\xff\xff", b"\x0a\xff", b"\x0a\x02\xc3\x28"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(raw)
            info = error_info(status_of_error(caught.value, "rules"))
            assert info is not None
            assert info.reason == "UNREADABLE_BODY"

"""What a call made is gone when it is answered, without the collector of cycles."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from services.ledger.operations.transaction import Transaction
from tests.ledger.programs_kit import LedgerUnderTest, refusal

CALLS = 25
OURS = ("kernel.", "services.")
"""Modules. An aborted call leaves its context and frames of the chassis: the transport's doing."""


def whose(thing: Any) -> str:
    """What made a thing: the module and name of its class, or of a frame's or function's code."""
    frame = getattr(thing, "gi_frame", None) or getattr(thing, "cr_frame", None) or thing
    names = getattr(frame, "f_globals", None) or getattr(thing, "__globals__", None)
    code = getattr(frame, "f_code", None) or getattr(thing, "__code__", None)
    if names is not None and code is not None:
        return f"{names.get('__name__')}.{code.co_qualname}"
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


async def left_by(call: Callable[[int], Awaitable[Any]]) -> Counter[str]:
    """What of ours is left to the collector by calls; of nothing that was there before them."""
    for number in range(3):
        await call(-number)
    gc.collect()
    # What others of this process made is out of the collector's sight, also if it dies meanwhile.
    gc.freeze()
    gc.disable()
    try:
        for number in range(CALLS):
            await call(number)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(whose(thing) for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    return Counter({name: count for name, count in found.items() if name.startswith(OURS)})


def each_time(left: Counter[str]) -> list[str]:
    """What every call leaves. What one of them left is not theirs: a job works beside them."""
    return sorted(name for name, count in left.items() if count >= CALLS)


async def test_a_call_leaves_no_cycles_behind(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = program_pb2.ProgramSettings()
    settings.program.auto_enrol = True
    await ledger.create_program("p", settings=settings)

    def named(number: int, points: int) -> dict[str, Any]:
        request_id = f"{points}.{number}"
        return {"program": "p", "member": f"m{number % 7}", "request_id": request_id}

    def earning(number: int, points: int, **more: Any) -> ledger_pb2.EarnRequest:
        return ledger_pb2.EarnRequest(points=points, **named(number, points), **more)

    def redeeming(number: int, points: int) -> ledger_pb2.RedeemRequest:
        return ledger_pb2.RedeemRequest(points=points, **named(number, points))

    def batch(number: int) -> ledger_pb2.BatchPostRequest:
        requests = [
            ledger_pb2.PostRequest(
                **named(number, amount),
                operations=[ledger_pb2.Operation(redeem=ledger_pb2.RedeemOperation(points=amount))],
            )
            for amount in (2, 10**10)
        ]
        return ledger_pb2.BatchPostRequest(program="p", requests=requests)

    points = ledger.points
    # In this order: what is redeemed has been earned.
    calls: dict[str, Callable[[int], Awaitable[Any]]] = {
        "earned": lambda number: points.Earn(earning(number, 9)),
        "as if": lambda number: points.Earn(earning(number, 7, validate_only=True)),
        "redeemed": lambda number: points.Redeem(redeeming(number, 5)),
        "replayed": lambda number: points.Redeem(redeeming(number, 5)),
        "refused": lambda number: refusal(points.Redeem(redeeming(number, 10**9))),
        "a batch": lambda number: points.BatchPost(batch(number)),
    }
    left = {what: each_time(await left_by(call)) for what, call in calls.items()}

    def remember_itself(transaction: Transaction) -> None:
        transaction.itself = transaction  # type: ignore[attr-defined]

    monkeypatch.setattr(Transaction, "remember", remember_itself)
    planted = each_time(await left_by(lambda number: points.Earn(earning(number, 11))))

    assert not {what: names for what, names in left.items() if names}
    assert "services.ledger.operations.transaction.Transaction" in planted

"""Events of somebody who was erased stay, and are nobody's."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from chassis.refusals import error_info, status_of_error
from loyalty.ledger.v1 import account_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from loyalty.rules.v1 import events_pb2
from services.rules.operations.forget import CLOCKS_APART, forget_members
from services.rules.operations.redrive import redrive
from services.rules.peers.erasures import Erased
from tests.rules.kit import Suite, event, purchase

ADA = "only.ada"
_Event = events_pb2.EventOutcome


async def erase(served: Suite, member: str = ADA) -> None:
    await AccountServiceStub(served.channel).EraseMember(
        account_pb2.EraseMemberRequest(program="p1", member=member, request_id="erase")
    )


async def named(served: Suite, text: str = ADA) -> list[str]:
    """Events and tables that hold a text in whatever column, bytes included."""
    found = [
        str(row["id"])
        for row in await served.rows.fetch("SELECT * FROM event ORDER BY id")
        if any(
            text.encode() in (value if isinstance(value, bytes) else str(value).encode())
            for value in row.values()
        )
    ]
    visits = "SELECT count(*) FROM visit WHERE strpos(visit::text, $1) > 0"
    return found + ["visit"] * bool(await served.rows.fetchval(visits, text))


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await check():  # noqa: ASYNC110 - what is waited for is in a database
            await asyncio.sleep(0.02)


async def reason(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    info = error_info(status_of_error(refused.value, "rules"))
    return "" if info is None else str(info.reason)


async def test_events_of_who_is_erased_keep_what_they_came_to_and_nobodys_name(
    served: Suite,
) -> None:
    rules = served.rules
    await served.create_program("p2")
    for program in ("p1", "p2"):
        await rules.rule(program=program)
        await rules.submit(
            purchase(f"buy-{program}", ADA, "12.00", store="corner", attributes={"phone": "0123"}),
            program,
        )
    await rules.submit(purchase("bobs", "bob", "7.00", store="corner"))
    await rules.submit(event("birthday", "qr_scan", ADA, attributes={"born": "yesterday"}))
    await rules.submit(event("stuck", "qr_scan", ADA))
    await served.rows.execute(
        "UPDATE event SET state = 2, posting = NULL, due_time = now() + interval '1 hour'"
        " WHERE id = 'stuck'"
    )
    frozen = {"reason": "MEMBER_FROZEN", "message": ADA, "metadata": {"member": ADA}}
    await served.rows.execute(
        "UPDATE event SET state = 4, posting = NULL, post = NULL, refusal = $1"
        " WHERE id = 'birthday'",
        json.dumps(frozen),
    )
    before = await rules.get("buy-p1")
    assert sorted(await named(served)) == ["birthday", "buy-p1", "buy-p2", "stuck", "visit"]

    await erase(served)

    async def forgotten() -> bool:
        return not await named(served)

    await eventually(forgotten)
    for text in ("0123", "yesterday"):
        assert not await named(served, text)
    kept = await rules.get("buy-p1")
    assert kept.state == _Event.DONE
    assert kept.event == events_pb2.Event(
        id="buy-p1", type="purchase", effective_time=before.event.effective_time
    )
    assert kept.trace == before.trace
    assert kept.posting.posting == before.posting.posting
    assert [entry.points for entry in kept.posting.entries] == [
        entry.points for entry in before.posting.entries
    ]
    refused = [await rules.get(each) for each in ("birthday", "stuck")]
    assert [each.state for each in refused] == [_Event.REFUSED] * 2
    assert [each.status.message for each in refused] == ["the member was erased"] * 2
    assert [error_info(each.status).reason for each in refused] == [  # type: ignore[union-attr]
        "MEMBER_FROZEN",
        "MEMBER_NOT_FOUND",
    ]
    # Nothing enrols the id again by itself, and an event's id stays taken.
    tomorrow = rules.context.clock() + timedelta(days=1)
    assert await redrive(rules.context, due_by=tomorrow) == (0, 0)
    assert await reason(served.account(ADA)) == "MEMBER_NOT_FOUND"
    again = purchase("buy-p1", ADA, "12.00", store="corner", attributes={"phone": "0123"})
    assert await reason(rules.submit(again)) == "REQUEST_ID_REUSED"
    assert (await rules.get("bobs")).event.member == "bob"
    assert await served.rows.fetchval("SELECT count(*) FROM visit") == 1

    # Who has the id by now keeps what is logged, though the same be learned once more.
    erased_by = datetime.now(UTC)
    await asyncio.sleep(CLOCKS_APART.total_seconds() + 0.05)
    await rules.submit(purchase("new", ADA, "3.00"))
    await forget_members(rules.context, [Erased("acme", ADA, erased_by)], {})
    assert (await rules.get("new")).event.member == ADA
    assert (await served.numbers(ADA))[1:] == (300, 1)
    assert await served.rows.fetchval("SELECT sum(sequence) FROM followed") > 0

"""Whom the ledger erased, the tiers forget: where they stand and stood, and who they were."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2
from loyalty.tiers.v1 import tiers_pb2
from services.tiers.operations.forget import forget_erasures, forget_members
from services.tiers.store.erasures import Gone
from tests.tiers.kit import LedgerServer, Tiers, eventually, metals, refusal


async def erase(ledger: LedgerServer, member: str = "ada") -> None:
    await ledger.members.EraseMember(
        account_pb2.EraseMemberRequest(program="p1", member=member, request_id="erase")
    )


async def published(tiers: Tiers) -> list[Any]:
    """What the stream says from its beginning."""
    call = tiers.stub.WatchChanges(tiers_pb2.WatchChangesRequest())
    changes: list[Any] = []
    async for response in call:
        changes.extend(response.changes)
        if response.HasField("current_time"):
            break
    call.cancel()
    return changes


async def named(tiers: Tiers, member: str) -> dict[str, int]:
    """In how many rows of each table an id stands."""
    tables = ("membership", "change", "erasure")
    return {
        table: count
        for table in tables
        if (count := await tiers.rows.fetchval(
            f"SELECT count(*) FROM {table} WHERE member = $1", member
        ))
    }  # fmt: skip


async def test_who_is_erased_is_forgotten_and_published(
    ledger_server: LedgerServer, tiers: Tiers
) -> None:
    await ledger_server.create_program("p2")
    for program in ("p1", "p2"):
        await tiers.create_ladder(metals(), program=program)
        for member in ("ada", "bob"):
            await ledger_server.count(member, 30_000, program=program)
            await tiers.evaluate(member, program=program)
    assert await named(tiers, "ada") == {"membership": 2, "change": 4}
    before = await published(tiers)

    await erase(ledger_server)

    async def forgotten() -> bool:
        return await named(tiers, "ada") == {"erasure": 1}

    await eventually(forgotten)
    for program in ("p1", "p2"):
        for call in (
            tiers.membership("ada", program=program),
            tiers.evaluate("ada", program=program),
            tiers.history("ada", program=program),
        ):
            assert (await refusal(call)).reason == "MEMBER_NOT_FOUND"
        answer = await tiers.stub.BatchGetMemberships(
            tiers_pb2.BatchGetMembershipsRequest(
                program=program, members=["ada", "bob"], brief=True
            )
        )
        assert list(answer.missing) == ["ada"]
        assert answer.memberships[0].tier.tier == "silver"
    after = await published(tiers)
    told = [each for each in after if each.HasField("member_erased")]
    assert [(each.organization, each.program, each.member_erased.member) for each in told] == [
        ("acme", "", "ada")
    ]
    # What was decided stays, about nobody.
    moves = [each.membership_changed for each in after if each.HasField("membership_changed")]
    assert sorted(each.member for each in moves) == [""] * 4 + ["bob"] * 4
    assert {each.to_tier for each in moves if not each.member} == {"bronze", "silver"}
    sequences: dict[int, list[int]] = {}
    for each in after:
        sequences.setdefault(each.bucket, []).append(each.sequence)
    assert all(some == list(range(1, len(some) + 1)) for some in sequences.values())
    assert len(after) == len(before) + 1

    # The same id is somebody else, and what was followed already is not done again.
    await ledger_server.enrol("ada")
    assert (await tiers.evaluate("ada")).tier.tier == "bronze"
    source = await tiers.rows.fetchrow("SELECT ledger_bucket, ledger_sequence FROM erasure")
    assert source is not None
    gone = Gone(tiers.context.bucket("acme", "ada"), "acme", "ada", (source[0], source[1]))
    await forget_members(tiers.context, [gone])
    assert [each.to_tier for each in await tiers.history("ada")] == ["bronze"]

    assert await forget_erasures(tiers.context, timedelta(days=1)) == 0
    assert await forget_erasures(tiers.context, timedelta(0)) == 1
    told = [each for each in await published(tiers) if each.HasField("member_erased")]
    assert [each.member_erased.member for each in told] == [""]


async def test_who_is_erased_while_being_evaluated_leaves_nothing_behind(
    ledger_server: LedgerServer, quiet: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("ada", 30_000)
    ledger = quiet.context.ledger
    ask = ledger.accounts
    asked = 0

    async def slowly(*args: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        answer = await ask(*args, **more)
        if asked == 1:
            await erase(ledger_server)
            gone = Gone(quiet.context.bucket("acme", "ada"), "acme", "ada", (0, 1))
            await forget_members(quiet.context, [gone])
        return answer

    monkeypatch.setattr(ledger, "accounts", slowly)

    assert (await refusal(quiet.evaluate("ada"))).reason == "MEMBER_NOT_FOUND"

    assert asked == 2
    assert await named(quiet, "ada") == {"erasure": 1}

"""Accounts that several callers and processes have to do with at once."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.properties.ledger_process import Cluster
from tests.properties.many import Many, many, reason_of

VEHICLES = 50
ROUNDS = 4


def fresh() -> str:
    """An organization of its own."""
    return f"org-{uuid.uuid4().hex[:8]}"


async def create(fleet: Many, group: str, **fields: Any) -> None:
    """Create a group."""
    request = group_pb2.CreateGroupRequest(
        program="p", group=group, request_id="create", **{"kind": "GROUP", **fields}
    )
    await fleet.callers[0].accounts("CreateGroup", request)


def joining(member: str, group: str, request_id: str = "join") -> group_pb2.AddGroupMemberRequest:
    """A request to join."""
    return group_pb2.AddGroupMemberRequest(
        program="p", member=member, group=group, request_id=request_id
    )


async def test_fifty_writers_on_one_fleet(cluster: Cluster) -> None:
    """Vehicles of one fleet, over several processes; everything twice."""
    async with many(cluster, fresh()) as fleet:
        await fleet.furnish(fleets=program_pb2.FleetsSettings(enabled=True))
        await create(fleet, "trucks", kind="FLEET")
        vehicles = [f"v{number}" for number in range(VEHICLES)]
        for number, vehicle in enumerate(vehicles):
            await fleet.earn(number, vehicle, 1, "first")
        for vehicle in vehicles:
            await fleet.callers[0].accounts("AddGroupMember", joining(vehicle, "trucks"))

        async def drive(number: int, vehicle: str) -> list[Any]:
            return [
                await fleet.earn(number + turn, vehicle, number + 1, f"e{turn // 2}")
                for turn in range(ROUNDS * 2)
            ]

        answers = await asyncio.gather(
            *(drive(number, vehicle) for number, vehicle in enumerate(vehicles))
        )

        postings = {answer.posting.posting for some in answers for answer in some}
        assert len(postings) == VEHICLES * ROUNDS
        assert {answer.posting.account_member for some in answers for answer in some} == {"trucks"}
        earned = ROUNDS * VEHICLES * (VEHICLES + 1) // 2
        assert await fleet.available("trucks") == VEHICLES + earned
        listed = await fleet.callers[0].accounts(
            "ListGroupMembers",
            group_pb2.ListGroupMembersRequest(program="p", group="trucks", page_size=100),
        )
        assert {each.member: each.contributed["points"] for each in listed.members} == {
            vehicle: 1 + ROUNDS * (number + 1) for number, vehicle in enumerate(vehicles)
        }
        await fleet.verify("trucks", vehicles[0], vehicles[-1])


async def test_transfers_in_opposite_directions(cluster: Cluster) -> None:
    """Each pair gives to each other at once, many times: all are answered, nothing is lost."""
    async with many(cluster, fresh()) as bank:
        await bank.furnish(transfer=program_pb2.TransferSettings(enabled=True))
        pairs = [(f"a{number}", f"b{number}") for number in range(4)]
        for pair in pairs:
            for member in pair:
                await bank.earn(0, member, 500, "first")

        async def give(number: int, member: str, other: str, turn: int) -> str:
            request = ledger_pb2.TransferPointsRequest(
                program="p", member=member, recipient=other, points=1, request_id=f"t{turn}"
            )
            caller = bank.callers[(number + turn) % len(bank.callers)]
            return await reason_of(caller.points("TransferPoints", request))

        calls = [
            give(number, *names, turn)
            for turn in range(25)
            for pair in pairs
            for number, names in enumerate((pair, pair[::-1]))
        ]
        assert set(await asyncio.gather(*calls)) == {"OK"}
        for pair in pairs:
            for member in pair:
                assert await bank.available(member) == 500
            await bank.verify(*pair)


async def test_a_merge_races_with_postings_of_both(cluster: Cluster) -> None:
    """Whatever comes first, no point is lost, and the old id means the new one afterwards."""
    async with many(cluster, fresh()) as books:
        await books.furnish()
        for number in range(6):
            old, new = f"old{number}", f"new{number}"
            for member in (old, new):
                await books.earn(0, member, 100, "first")
            earnings = [
                books.earn(turn, member, 1, f"e{turn}")
                for turn in range(10)
                for member in (old, new)
            ]
            merge = group_pb2.MergeMembersRequest(
                program="p", member=old, into=new, request_id="merge"
            )
            merges = [caller.accounts("MergeMembers", merge) for caller in books.callers]
            answers = await asyncio.gather(*earnings[:10], *merges, *earnings[10:])

            merged = answers[10 : 10 + len(merges)]
            assert len({each.posting.posting for each in merged}) == 1
            assert sum(not each.replayed for each in merged) == 1
            account = await books.account(old)
            assert (account.member, account.balances[0].available) == (new, 220)
            again = await books.earn(1, old, 1, "e3")
            assert again.replayed
            await books.verify(old, new)


async def test_merges_into_each_other(cluster: Cluster) -> None:
    """Of two at once, one is done."""
    async with many(cluster, fresh()) as books:
        await books.furnish()

        def merge(member: str, into: str, at: int) -> Any:
            request = group_pb2.MergeMembersRequest(
                program="p", member=member, into=into, request_id="merge"
            )
            return reason_of(books.callers[at].accounts("MergeMembers", request))

        for number in range(4):
            pair = (f"a{number}", f"b{number}")
            for member in pair:
                await books.earn(0, member, 100, "first")

            reasons = await asyncio.gather(merge(*pair, 0), merge(*pair[::-1], 1))

            assert sorted(reasons) == ["MEMBER_MERGED", "OK"]
            remaining = pair[reasons.index("MEMBER_MERGED")]
            for member in pair:
                account = await books.account(member)
                assert (account.member, account.balances[0].available) == (remaining, 200)
            await books.verify(*pair)


@pytest.mark.parametrize("on_leave", ["FORFEIT_TO_GROUP", "TAKE_SHARE"])
async def test_joining_and_leaving_race_with_earnings(cluster: Cluster, on_leave: str) -> None:
    """Each earning lands in exactly one account: the one that was the member's just then."""
    async with many(cluster, fresh()) as books:
        await books.furnish(groups=program_pb2.GroupsSettings(enabled=True))
        rules = group_pb2.GroupRules(on_leave=group_pb2.GroupRules.OnLeave.Value(on_leave))
        await create(books, "family", rules=rules)
        members = [f"m{number}" for number in range(4)]
        for member in members:
            await books.earn(0, member, 100, "first")

        async def come_and_go(number: int, member: str) -> list[str]:
            caller = books.callers[number % len(books.callers)]
            reasons = []
            for turn in range(4):
                reasons.append(
                    await reason_of(
                        caller.accounts("AddGroupMember", joining(member, "family", f"j{turn}"))
                    )
                )
                leaving = group_pb2.RemoveGroupMemberRequest(
                    program="p", member=member, group="family", request_id=f"l{turn}"
                )
                reasons.append(await reason_of(caller.accounts("RemoveGroupMember", leaving)))
            return reasons

        async def earn(number: int, member: str) -> list[Any]:
            return [await books.earn(number + turn, member, 1, f"e{turn}") for turn in range(12)]

        goings = [come_and_go(number, member) for number, member in enumerate(members)]
        earnings = [earn(number, member) for number, member in enumerate(members)]
        results: Sequence[list[Any]] = await asyncio.gather(*goings, *earnings)

        for reasons in results[: len(members)]:
            assert set(reasons) == {"OK"}
        answers = [answer for some in results[len(members) :] for answer in some]
        owners = {answer.posting.account_member or answer.posting.member for answer in answers}
        assert owners <= {*members, "family"}
        total = sum([await books.available(each, own=True) for each in (*members, "family")])
        assert total == len(members) * 112
        for answer in answers[::5]:
            stored = await books.callers[0].points(
                "GetPosting",
                ledger_pb2.GetPostingRequest(program="p", posting=answer.posting.posting),
            )
            assert stored == answer.posting
            assert stored.entries[0].kind == resources_pb2.Entry.EARNED
        await books.verify(*members, "family")

"""Short ways to have members give points to each other, share them, and be merged."""

from typing import Any

from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.ledger.points_kit import Points
from tests.ledger.programs_kit import LedgerUnderTest

Entry = resources_pb2.Entry
Account = resources_pb2.Account
Rules = group_pb2.GroupRules
Redemption = program_pb2.RedemptionSettings


class Party(Points):
    """A member of a sandbox program that has to do with others."""

    async def other(self, member: str, **fields: Any) -> "Party":
        """Another member of the same program, enrolled."""
        other = await self.another(member)
        return self.named(other.member)

    def named(self, member: str, program: str = "") -> "Party":
        """Whoever has that name."""
        other = Party(self.ledger, program or self.program, member)
        other.now = self.now
        return other

    def transferring(self, points: int, to: str, **more: Any) -> ledger_pb2.TransferPointsRequest:
        """A request to give points."""
        asked: dict[str, Any] = {**self.common(), "points": points, "recipient": to, **more}
        return ledger_pb2.TransferPointsRequest(**asked)

    async def transfer(self, points: int, to: str, **more: Any) -> Any:
        """Give points."""
        return await self.ledger.points.TransferPoints(self.transferring(points, to, **more))

    async def across(self, points: int, **more: Any) -> Any:
        """Redeem across programs."""
        asked: dict[str, Any] = {**self.common(), "points": points, **more}
        return await self.ledger.points.RedeemAcrossPrograms(
            ledger_pb2.RedeemAcrossProgramsRequest(**asked)
        )

    async def merge(self, into: str, **more: Any) -> Any:
        """Be merged into somebody."""
        asked: dict[str, Any] = {**self.common(), "into": into, **more}
        return await self.ledger.members.MergeMembers(group_pb2.MergeMembersRequest(**asked))

    async def group(self, group: str, **more: Any) -> Any:
        """Create a group."""
        asked: dict[str, Any] = {"request_id": "create", "kind": Account.GROUP, **more}
        return await self.ledger.members.CreateGroup(
            group_pb2.CreateGroupRequest(program=self.program, group=group, **asked)
        )

    async def join(self, group: str, **more: Any) -> Any:
        """Join a group."""
        asked: dict[str, Any] = {**self.common(), "group": group, **more}
        return await self.ledger.members.AddGroupMember(group_pb2.AddGroupMemberRequest(**asked))

    async def leave(self, group: str, **more: Any) -> Any:
        """Leave a group."""
        asked: dict[str, Any] = {**self.common(), "group": group, **more}
        return await self.ledger.members.RemoveGroupMember(
            group_pb2.RemoveGroupMemberRequest(**asked)
        )

    async def count(self, value: int, **more: Any) -> Any:
        """Count visits."""
        asked: dict[str, Any] = {**self.common(), "counter": "visits", "value": value, **more}
        return await self.ledger.points.Count(ledger_pb2.CountRequest(**asked))

    async def read(self, **more: Any) -> Any:
        """The account that is answered for it."""
        return await self.ledger.points.GetAccount(
            ledger_pb2.GetAccountRequest(program=self.program, member=self.member, **more)
        )

    async def available(self, **more: Any) -> int:
        """Available points of the account that is answered for it."""
        return int((await self.read(**more)).balances[0].available)

    async def lifetime(self, *counters: str) -> list[int]:
        """Lifetime values of counters."""
        period = resources_pb2.CounterWindow.LIFETIME
        windows = [resources_pb2.CounterWindow(counter=each, period=period) for each in counters]
        return [int(each.value) for each in (await self.read(windows=windows)).counters]

    async def verified(self, *members: str) -> None:
        """Assert that the own books of members balance."""
        for member in members:
            answer = await self.ledger.points.VerifyAccount(
                ledger_pb2.VerifyAccountRequest(program=self.program, member=member)
            )
            assert answer.ok, (member, list(answer.findings))


def transfers(**more: Any) -> program_pb2.TransferSettings:
    """Settings that allow transfers."""
    return program_pb2.TransferSettings(**{"enabled": True, **more})


def freeze(party: Party) -> Any:
    """Freeze a member."""
    asked: dict[str, Any] = {**party.common(), "reason": "suspicion"}
    return party.ledger.members.FreezeMember(account_pb2.FreezeMemberRequest(**asked))


def strategy(name: str, kind: str, months: int) -> resources_pb2.ExpiryStrategy:
    """An expiry strategy."""
    known = resources_pb2.ExpiryStrategy.Kind
    return resources_pb2.ExpiryStrategy(strategy=name, kind=known.Value(kind), months=months)


# Settings under which groups, fleets and transfers are had.
ON: dict[str, Any] = {
    "program": program_pb2.GeneralSettings(auto_enrol=True),
    "groups": program_pb2.GroupsSettings(enabled=True),
    "fleets": program_pb2.FleetsSettings(enabled=True),
    "transfer": transfers(),
}


async def family(ledger: LedgerUnderTest, **fields: Any) -> tuple[Party, Party, Party]:
    """The group `family`, and ada with 100 and bob with 10 points who do not belong to it."""
    ada = Party(ledger)
    await ada.begin(**ON)
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p", counter_id="visits")
    )
    bob = await ada.other("bob")
    await ada.earn(100)
    await bob.earn(10)
    await ada.group("family", **fields)
    return ada, bob, ada.named("family")


async def contributed(ledger: LedgerUnderTest, group: str = "family") -> dict[str, int]:
    """What those who belong to a group contributed."""
    answer = await ledger.members.ListGroupMembers(
        group_pb2.ListGroupMembersRequest(program="p", group=group)
    )
    return {each.member: each.contributed["points"] for each in answer.members}

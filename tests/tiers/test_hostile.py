"""Requests that are wrong, callers who may not, and what organizations see of each other."""

from typing import Any

import grpc

from loyalty.common.v1 import clock_pb2
from loyalty.common.v1.clock_pb2_grpc import ClockServiceStub
from loyalty.ledger.v1 import program_pb2
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from services.tiers.rpc.scopes import SCOPES
from testkit.keys import token
from testkit.servers import authorized_channel
from tests.tiers.kit import LedgerServer, Refused, Tiers, at, metals, refusal, tier

GOOD: dict[str, Any] = {
    "CreateLadder": tiers_pb2.CreateLadderRequest(
        program="p1", ladder_id="status", ladder=metals()
    ),
    "GetLadder": tiers_pb2.GetLadderRequest(program="p1", ladder="status"),
    "ListLadders": tiers_pb2.ListLaddersRequest(program="p1"),
    "UpdateLadder": tiers_pb2.UpdateLadderRequest(
        program="p1", ladder="status", changes=tiers_pb2.Ladder(display_name="x")
    ),
    "GetMembership": tiers_pb2.GetMembershipRequest(program="p1", member="m1"),
    "BatchGetMemberships": tiers_pb2.BatchGetMembershipsRequest(program="p1", members=["m1"]),
    "EvaluateMember": tiers_pb2.EvaluateMemberRequest(program="p1", member="m1"),
    "BatchEvaluateMembers": tiers_pb2.BatchEvaluateMembersRequest(program="p1", members=["m1"]),
    "ListMembershipHistory": tiers_pb2.ListMembershipHistoryRequest(program="p1", member="m1"),
    "WatchChanges": tiers_pb2.WatchChangesRequest(),
    "CatchUp": clock_pb2.CatchUpRequest(program="p1", time=at(2026)),
    "GetNextDue": clock_pb2.GetNextDueRequest(program="p1"),
}


def without(name: str, *fields: str) -> Any:
    request = type(GOOD[name])()
    request.CopyFrom(GOOD[name])
    for field in fields:
        request.ClearField(field)
    return request


def but(name: str, **fields: Any) -> Any:
    request = without(name, *fields)
    request.MergeFrom(type(request)(**fields))
    return request


MEMBERS = [f"m{number}" for number in range(1001)]
WRONG = {
    "CreateLadder without a program": (without("CreateLadder", "program"), "program"),
    "CreateLadder without an id": (without("CreateLadder", "ladder_id"), "ladder_id"),
    "CreateLadder with a long id": (but("CreateLadder", ladder_id="x" * 129), "ladder_id"),
    "CreateLadder without a ladder": (without("CreateLadder", "ladder"), "ladder"),
    "GetLadder with a slash": (but("GetLadder", ladder="a/b"), "ladder"),
    "ListLadders of a hostile program": (but("ListLadders", program="p\x00"), "program"),
    "ListLadders of too many": (but("ListLadders", page_size=1001), "page_size"),
    "ListLadders of less than none": (but("ListLadders", page_size=-1), "page_size"),
    "UpdateLadder without changes": (without("UpdateLadder", "changes"), "changes"),
    "UpdateLadder with a long etag": (but("UpdateLadder", etag="x" * 101), "etag"),
    "GetMembership without a member": (without("GetMembership", "member"), "member"),
    "GetMembership of a long member": (but("GetMembership", member="m" * 129), "member"),
    "BatchGetMemberships of nobody": (without("BatchGetMemberships", "members"), "members"),
    "BatchGetMemberships of too many": (but("BatchGetMemberships", members=MEMBERS), "members"),
    "BatchGetMemberships of an empty name": (
        but("BatchGetMemberships", members=["m1", ""]),
        "members[1]",
    ),
    "EvaluateMember with a space": (but("EvaluateMember", member="a b"), "member"),
    "BatchEvaluateMembers of nobody": (without("BatchEvaluateMembers", "members"), "members"),
    "BatchEvaluateMembers of too many": (but("BatchEvaluateMembers", members=MEMBERS), "members"),
    "ListMembershipHistory without a member": (
        without("ListMembershipHistory", "member"),
        "member",
    ),
    "ListMembershipHistory with a long token": (
        but("ListMembershipHistory", page_token="x" * 2001),
        "page_token",
    ),
    "WatchChanges of too many buckets": (but("WatchChanges", buckets=range(4097)), "buckets"),
    "CatchUp without a time": (without("CatchUp", "time"), "time"),
    "GetNextDue without a program": (without("GetNextDue", "program"), "program"),
}


def call(channel: grpc.aio.Channel, name: str, request: Any) -> Any:
    """Call a method; a stream's first answer."""
    tiers: Any = TierServiceStub(channel)
    clock: Any = ClockServiceStub(channel)
    if name == "WatchChanges":
        return tiers.WatchChanges(request).read()
    return getattr(clock if name in {"CatchUp", "GetNextDue"} else tiers, name)(request)


async def test_every_method_has_good_and_wrong_requests() -> None:
    methods = {name.rpartition("/")[2] for name in SCOPES}

    assert set(GOOD) == methods
    assert {name.split()[0] for name in WRONG} == methods


async def test_what_is_wrong_with_a_request_is_named(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    for name, (request, field) in WRONG.items():
        refused = await refusal(call(quiet.channel, name.split()[0], request))

        assert (refused.reason, refused.fields[:1]) == ("INVALID_FIELD", (field,)), name


async def test_every_method_needs_a_credential_and_its_scope(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    scoped = {name.rpartition("/")[2]: scope for name, scope in SCOPES.items()}
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{quiet.port}") as stranger,
        authorized_channel(quiet.port, token(scopes={"platform"})) as elsewhere,
    ):
        for name, request in GOOD.items():
            missing = await refusal(call(stranger, name, request))
            denied = await refusal(call(elsewhere, name, request))

            assert missing.reason == "CREDENTIAL_MISSING", name
            assert denied.reason == "SCOPE_MISSING", name
            assert denied.metadata == {"scope": scoped[name].name}


async def test_what_the_ledger_must_be_asked_needs_its_scope(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    async with authorized_channel(quiet.port, token(scopes={"tiers:read"})) as channel:
        refused = await refusal(call(channel, "GetMembership", GOOD["GetMembership"]))

    assert refused == Refused(
        grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", {"scope": "ledger:read"}, ()
    )


async def test_a_member_reads_its_own_membership_and_nothing_else(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await ledger_server.count("m2", 30_000)
    own = token(member="m1", program="p1")
    async with authorized_channel(quiet.port, own) as channel:
        found = await call(channel, "GetMembership", GOOD["GetMembership"])
        other = await refusal(call(channel, "GetMembership", but("GetMembership", member="m2")))
        denied = {
            name: (await refusal(call(channel, name, request))).reason
            for name, request in GOOD.items()
            if name != "GetMembership"
        }

    assert (found.member, found.tier.tier) == ("m1", "bronze")
    assert other.reason == "SCOPE_MISSING"
    assert set(denied.values()) == {"SCOPE_MISSING"}


async def test_an_organization_finds_nothing_of_another(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await quiet.evaluate("m1")
    globex = token(organization="globex")
    await create_globex(ledger_server.port, globex, program="own")
    async with authorized_channel(quiet.port, globex) as channel:
        for name, request in GOOD.items():
            if name != "WatchChanges":
                refused = await refusal(call(channel, name, request))

                assert refused.reason == "PROGRAM_NOT_FOUND", name


async def test_programs_of_the_same_name_are_of_their_organizations(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await quiet.evaluate("m1")
    globex = token(organization="globex")
    await create_globex(ledger_server.port, globex, program="p1")
    async with authorized_channel(quiet.port, globex) as channel:
        listed = await call(channel, "ListLadders", GOOD["ListLadders"])
        brief = await call(channel, "BatchGetMemberships", but("BatchGetMemberships", brief=True))
        evaluated = await call(channel, "BatchEvaluateMembers", GOOD["BatchEvaluateMembers"])
        refused = {
            name: (await refusal(call(channel, name, GOOD[name]))).reason
            for name in ("GetLadder", "UpdateLadder", "GetMembership", "ListMembershipHistory")
        }
        own = tiers_pb2.Ladder(tiers=[tier("own")])
        await call(channel, "CreateLadder", but("CreateLadder", ladder=own))

    assert [each.ladder for each in listed.ladders] == ["default"]
    assert list(brief.missing) == list(evaluated.missing) == ["m1"]
    assert refused == {
        "GetLadder": "LADDER_NOT_FOUND",
        "UpdateLadder": "LADDER_NOT_FOUND",
        "GetMembership": "MEMBER_NOT_FOUND",
        "ListMembershipHistory": "MEMBER_NOT_FOUND",
    }
    assert (await quiet.membership("m1")).tier.tier == "silver"


async def create_globex(port: int, credential: str, program: str) -> None:
    async with authorized_channel(port, credential) as channel:
        programs: Any = ProgramServiceStub(channel)
        await programs.CreateOrganization(
            program_pb2.CreateOrganizationRequest(organization="globex")
        )
        await programs.CreateProgram(program_pb2.CreateProgramRequest(program=program))


async def test_the_page_token_of_another_organization_is_refused(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await quiet.evaluate("m1")
    page = await quiet.stub.ListMembershipHistory(
        tiers_pb2.ListMembershipHistoryRequest(program="p1", member="m1", page_size=1)
    )
    request = tiers_pb2.ListMembershipHistoryRequest(
        program="p1", member="m1", page_token=page.next_page_token
    )

    async with authorized_channel(quiet.port, token(organization="globex")) as channel:
        stolen = await refusal(call(channel, "ListMembershipHistory", request))
    other = await refusal(
        quiet.stub.ListMembershipHistory(
            tiers_pb2.ListMembershipHistoryRequest(
                program="p1", member="m2", page_token=page.next_page_token
            )
        )
    )

    assert page.next_page_token
    assert (stolen.reason, other.reason) == ("INVALID_PAGE_TOKEN", "INVALID_PAGE_TOKEN")

"""A valid request for every method of the ledger."""

from collections.abc import Callable
from itertools import count
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import (
    account_pb2,
    group_pb2,
    ledger_pb2,
    program_pb2,
    proof_pb2,
    report_pb2,
    resources_pb2,
)

FILES = (ledger_pb2, program_pb2, account_pb2, proof_pb2, report_pb2, clock_pb2)
# Frozen by and by; whoever is called otherwise is not.
COLD = "cold"
# Whom transfers, merges and groups are about.
OTHERS = ("bob", "duplicate", "cousin", "uncle")
NOWHERE = "01890000-0000-7000-8000-000000000000"

_numbers = count()


def methods() -> list[MethodDescriptor]:
    """Every method that the ledger serves, by its descriptor."""
    services = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
    return [method for service in services for method in service.methods]


def path(method: MethodDescriptor) -> str:
    """The method's path on the wire."""
    return f"/{method.containing_service.full_name}/{method.name}"


def fresh(prefix: str = "x") -> str:
    """An id that was not used."""
    return f"{prefix}{next(_numbers)}"


def _to(program: str, member: str) -> dict[str, Any]:
    return {"program": program, "member": member, "request_id": fresh("r")}


def _post(program: str, member: str) -> ledger_pb2.PostRequest:
    request = ledger_pb2.PostRequest(
        **_to(program, member), reference="order 4711", logged_time=Timestamp(seconds=1)
    )
    request.operations.add().earn.CopyFrom(
        ledger_pb2.EarnOperation(points=5, source=resources_pb2.Source(event="e", rate="0.5"))
    )
    request.operations.add().redeem.points = 1
    request.operations.add().adjust.CopyFrom(ledger_pb2.AdjustOperation(points=1, reason="a gift"))
    request.operations.add().count.CopyFrom(ledger_pb2.CountOperation(counter="visits", value=1))
    request.preconditions.expect.add(
        window=resources_pb2.CounterWindow(
            counter="unmoved", period=resources_pb2.CounterWindow.ROLLING_DAYS, length=7
        )
    )
    return request


def _window() -> resources_pb2.CounterWindow:
    return resources_pb2.CounterWindow(
        counter="points_earned",
        period=resources_pb2.CounterWindow.ROLLING_MONTHS,
        length=2,
        time=Timestamp(seconds=1),
    )


def _settings() -> program_pb2.ProgramSettings:
    settings = program_pb2.ProgramSettings()
    settings.program.time_zone = "Europe/Rome"
    settings.points.daily_cap = 10**9
    settings.points.expiry.add(strategy="f", kind="FIXED", months=12, round_to="YEAR")
    settings.points.expiry.add(strategy="i", kind="INACTIVITY", months=12)
    dated = settings.points.expiry.add(strategy="d", kind="DATE")
    dated.date.year, dated.date.month, dated.date.day = 2031, 12, 31
    settings.redemption.step = 1
    settings.redemption.conversion_rate = "0.01"
    settings.transfer.maximum = 1000
    settings.communications.bulk_priority_until.seconds = 1_800_000_000
    settings.rollouts.event_trace.phase = program_pb2.RolloutsSettings.EventTrace.PILOT
    settings.rollouts.event_trace.stores.append("s1")
    settings.rewards.automatic_conversion.ladder.add(points=500, reward="r")
    return settings


def _create_program(program: str, member: str) -> program_pb2.CreateProgramRequest:
    return program_pb2.CreateProgramRequest(
        program=fresh("made"),
        display_name="A program",
        sandbox=True,
        start_time=Timestamp(seconds=1_700_000_000),
        currency=program_pb2.Currency(scale=2),
        settings=_settings(),
    )


def _update_settings(program: str, member: str) -> program_pb2.UpdateProgramSettingsRequest:
    request = program_pb2.UpdateProgramSettingsRequest(program=program, reason="a trial")
    request.settings.points.monthly_cap = 10**12
    request.update_mask.paths.append("points.monthly_cap")
    return request


def _batch_settings(program: str, member: str) -> program_pb2.BatchUpdateProgramSettingsRequest:
    request = program_pb2.BatchUpdateProgramSettingsRequest(reason="a trial")
    item = request.items.add(program=program)
    item.settings.transfer.enabled = True
    item.update_mask.paths.append("transfer")
    return request


def _update_program(program: str, member: str) -> program_pb2.UpdateProgramRequest:
    request = program_pb2.UpdateProgramRequest(program=program)
    request.changes.display_name = "Another name"
    request.update_mask.paths.append("display_name")
    return request


def _update_organization(program: str, member: str) -> program_pb2.UpdateOrganizationRequest:
    request = program_pb2.UpdateOrganizationRequest()
    request.organization.settings.multiple_programs = True
    request.update_mask.paths.append("settings.multiple_programs")
    return request


def _create_group(program: str, member: str) -> group_pb2.CreateGroupRequest:
    request = group_pb2.CreateGroupRequest(
        program=program,
        group=fresh("g"),
        request_id="create",
        kind=resources_pb2.Account.GROUP,
        display_name="A family",
    )
    request.rules.roles.add(
        role="head", permissions=[group_pb2.GroupRole.REDEEM, group_pb2.GroupRole.TRANSFER]
    )
    request.rules.on_leave = group_pb2.GroupRules.TAKE_SHARE
    return request


def _update_member(program: str, member: str) -> account_pb2.UpdateMemberRequest:
    card = account_pb2.Identifier(kind="card", value=fresh())
    return account_pb2.UpdateMemberRequest(
        program=program,
        member=member,
        changes=account_pb2.MemberChanges(billing_day=3),
        update_mask=FieldMask(paths=["billing_day"]),
        add_identifiers=[card],
        remove_identifiers=[card],
        validate_only=True,
    )


def _import_members(program: str, member: str) -> account_pb2.ImportMembersRequest:
    brought = account_pb2.OpeningBalance(
        points=5, awarded_time=Timestamp(seconds=1), expire_time=Timestamp(seconds=4_000_000_000)
    )
    row = account_pb2.MemberImport(
        member=fresh("m"),
        identifiers=[account_pb2.Identifier(kind="card", value=fresh())],
        enrol_time=Timestamp(seconds=1),
        billing_day=1,
        balances=[brought],
        request_id=fresh("r"),
    )
    return account_pb2.ImportMembersRequest(program=program, import_id="old", rows=[row])


Make = Callable[[str, str], Message]

VALID: dict[str, Make] = {
    "Earn": lambda p, m: ledger_pb2.EarnRequest(
        **_to(p, m),
        points=7,
        mature_time=Timestamp(seconds=1),
        source=resources_pb2.Source(rule="r"),
    ),
    "Redeem": lambda p, m: ledger_pb2.RedeemRequest(**_to(p, m), points=1),
    "Adjust": lambda p, m: ledger_pb2.AdjustRequest(**_to(p, m), points=3, reason="a gift"),
    "Count": lambda p, m: ledger_pb2.CountRequest(**_to(p, m), counter="visits", value=2),
    "Post": _post,
    "BatchPost": lambda p, m: ledger_pb2.BatchPostRequest(
        program=p, requests=[_post("", m), _post("", m)]
    ),
    "TransferPoints": lambda p, m: ledger_pb2.TransferPointsRequest(
        **_to(p, m), recipient="bob", points=1, reason="a gift"
    ),
    "RedeemAcrossPrograms": lambda p, m: ledger_pb2.RedeemAcrossProgramsRequest(
        **_to(p, m), points=1, programs=[p]
    ),
    "CreateHold": lambda p, m: ledger_pb2.CreateHoldRequest(**_to(p, m), points=1),
    "CaptureHold": lambda p, m: ledger_pb2.CaptureHoldRequest(**_to(p, m), hold=NOWHERE, points=1),
    "ReleaseHold": lambda p, m: ledger_pb2.ReleaseHoldRequest(**_to(p, m), hold=NOWHERE),
    "GetHold": lambda p, m: ledger_pb2.GetHoldRequest(program=p, hold=NOWHERE),
    "ListMemberAccounts": lambda p, m: ledger_pb2.ListMemberAccountsRequest(member=m),
    "ListHolds": lambda p, m: ledger_pb2.ListHoldsRequest(
        program=p, member=m, page_size=3, include_closed=True
    ),
    "ActivatePending": lambda p, m: ledger_pb2.ActivatePendingRequest(
        **_to(p, m), posting=NOWHERE, lot=NOWHERE
    ),
    "ReversePosting": lambda p, m: ledger_pb2.ReversePostingRequest(
        **_to(p, m),
        posting=NOWHERE,
        parts=[ledger_pb2.ReversalPart(entry=1, points=1)],
        cause=ledger_pb2.ReversePostingRequest.REWARD_FAILED,
        reason="out of stock",
    ),
    "QuoteRedemption": lambda p, m: ledger_pb2.QuoteRedemptionRequest(
        program=p, member=m, points=3
    ),
    "GetAccount": lambda p, m: ledger_pb2.GetAccountRequest(
        program=p, member=m, windows=[_window()]
    ),
    "BatchGetAccounts": lambda p, m: ledger_pb2.BatchGetAccountsRequest(
        program=p,
        members=[m, "nobody"],
        windows=[_window()],
        as_of=ledger_pb2.AsOf(record_time=Timestamp(seconds=1_700_000_000)),
    ),
    "GetStatement": lambda p, m: ledger_pb2.GetStatementRequest(
        program=p,
        member=m,
        page_size=3,
        start_time=Timestamp(seconds=1),
        end_time=Timestamp(seconds=1_800_000_000),
    ),
    "GetLiability": lambda p, m: report_pb2.GetLiabilityRequest(program=p),
    "ListRedemptions": lambda p, m: report_pb2.ListRedemptionsRequest(
        program=p, start_time=Timestamp(seconds=1), end_time=Timestamp(seconds=1_800_000_000)
    ),
    "ReconcileProgram": lambda p, m: report_pb2.ReconcileProgramRequest(program=p),
    "GetPosting": lambda p, m: ledger_pb2.GetPostingRequest(program=p, posting=NOWHERE),
    "ListEntries": lambda p, m: ledger_pb2.ListEntriesRequest(program=p, member=m, page_size=3),
    "ListLots": lambda p, m: ledger_pb2.ListLotsRequest(
        program=p, member=m, page_size=3, include_closed=True
    ),
    "ListExpirations": lambda p, m: ledger_pb2.ListExpirationsRequest(program=p, member=m),
    "VerifyAccount": lambda p, m: ledger_pb2.VerifyAccountRequest(program=p, member=m),
    "VerifyProgram": lambda p, m: proof_pb2.VerifyProgramRequest(
        program=p, shards=2, shard=1, after_bucket=1, after_account=1
    ),
    "CreateCheckpoint": lambda p, m: proof_pb2.CreateCheckpointRequest(),
    "GetCheckpoint": lambda p, m: proof_pb2.GetCheckpointRequest(checkpoint=1_000_000),
    "ListCheckpoints": lambda p, m: proof_pb2.ListCheckpointsRequest(page_size=2),
    "ReadLeaves": lambda p, m: proof_pb2.ReadLeavesRequest(bucket=1, after=1, heads=[2, 5]),
    "WatchChanges": lambda p, m: ledger_pb2.WatchChangesRequest(
        cursors={1: 1}, buckets=[1, 2], kinds=[resources_pb2.Change.MEMBER_ERASED]
    ),
    "CreateOrganization": lambda p, m: program_pb2.CreateOrganizationRequest(
        organization=fresh("org")
    ),
    "GetOrganization": lambda p, m: program_pb2.GetOrganizationRequest(),
    "UpdateOrganization": _update_organization,
    "CreateProgram": _create_program,
    "GetProgram": lambda p, m: program_pb2.GetProgramRequest(program=p),
    "ListPrograms": lambda p, m: program_pb2.ListProgramsRequest(page_size=3),
    "UpdateProgram": _update_program,
    "CreateCurrency": lambda p, m: program_pb2.CreateCurrencyRequest(
        program=p, currency_id=fresh("c"), currency=program_pb2.Currency(display_name="Miles")
    ),
    "ListCurrencies": lambda p, m: program_pb2.ListCurrenciesRequest(program=p),
    "CreateCounter": lambda p, m: program_pb2.CreateCounterRequest(
        program=p, counter_id=fresh("c"), counter=program_pb2.Counter(unit="visits")
    ),
    "ListCounters": lambda p, m: program_pb2.ListCountersRequest(program=p),
    "AdvanceClock": lambda p, m: program_pb2.AdvanceClockRequest(
        program=p, time=Timestamp(seconds=1_700_000_000)
    ),
    "GetProgramSettings": lambda p, m: program_pb2.GetProgramSettingsRequest(program=p),
    "UpdateProgramSettings": _update_settings,
    "BatchUpdateProgramSettings": _batch_settings,
    "ListSettingsRevisions": lambda p, m: program_pb2.ListSettingsRevisionsRequest(
        program=p, page_size=3
    ),
    "RestoreSettingsRevision": lambda p, m: program_pb2.RestoreSettingsRevisionRequest(
        program=p, revision=1, reason="a trial"
    ),
    "EnrolMember": lambda p, m: account_pb2.EnrolMemberRequest(
        program=p,
        member=fresh("m"),
        request_id="enrol",
        effective_time=Timestamp(seconds=1),
        identifiers=[account_pb2.Identifier(kind="card", value=fresh())],
        billing_day=31,
    ),
    "LookupMember": lambda p, m: account_pb2.LookupMemberRequest(
        program=p, kind="card", value="nobody's"
    ),
    "UpdateMember": _update_member,
    "ImportMembers": _import_members,
    # Of somebody unknown: whoever is erased is missed by the requests that follow.
    "EraseMember": lambda p, m: account_pb2.EraseMemberRequest(
        program=p, member=fresh("m"), request_id="erase", write_off=True, reason="asked for"
    ),
    "FreezeMember": lambda p, m: account_pb2.FreezeMemberRequest(
        **_to(p, COLD), reason="a complaint"
    ),
    "UnfreezeMember": lambda p, m: account_pb2.UnfreezeMemberRequest(
        **_to(p, m), reason="all is well"
    ),
    "GetMember": lambda p, m: account_pb2.GetMemberRequest(program=p, member=m),
    "ListMembers": lambda p, m: account_pb2.ListMembersRequest(program=p, page_size=3),
    "MergeMembers": lambda p, m: group_pb2.MergeMembersRequest(
        **_to(p, "duplicate"), into=m, reason="the same person"
    ),
    "CreateGroup": _create_group,
    "GetGroup": lambda p, m: group_pb2.GetGroupRequest(program=p, group="family"),
    "UpdateGroup": lambda p, m: group_pb2.UpdateGroupRequest(
        program=p, group="family", display_name="The family"
    ),
    "ListGroups": lambda p, m: group_pb2.ListGroupsRequest(program=p, page_size=3),
    "AddGroupMember": lambda p, m: group_pb2.AddGroupMemberRequest(
        **_to(p, "cousin"), group="family", role="member", on_join=group_pb2.GroupRules.LEAVE_BEHIND
    ),
    "RemoveGroupMember": lambda p, m: group_pb2.RemoveGroupMemberRequest(
        **_to(p, "uncle"), group="family", on_leave=group_pb2.GroupRules.TAKE_SHARE
    ),
    "ListGroupMembers": lambda p, m: group_pb2.ListGroupMembersRequest(
        program=p, group="family", page_size=3, include_former=True
    ),
    "CatchUp": lambda p, m: clock_pb2.CatchUpRequest(
        program=p, time=Timestamp(seconds=1_700_000_000)
    ),
    "GetNextDue": lambda p, m: clock_pb2.GetNextDueRequest(program=p),
}
"""A request that the method can answer, given a sandbox program and a member; new ids each time."""

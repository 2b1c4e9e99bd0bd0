"""A valid request for every method of the ledger, and what a hostile caller makes of it."""

import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import (
    account_pb2,
    group_pb2,
    ledger_pb2,
    program_pb2,
    proof_pb2,
    resources_pb2,
)

FILES = (ledger_pb2, program_pb2, account_pb2, proof_pb2, clock_pb2)
NOWHERE = "01890000-0000-7000-8000-000000000000"
DEPTH = 4

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
    request = ledger_pb2.PostRequest(**_to(program, member), reference="order 4711")
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
        kind="GROUP",
        display_name="A family",
    )
    request.rules.roles.add(role="head", permissions=["REDEEM", "TRANSFER"])
    request.rules.on_leave = group_pb2.GroupRules.TAKE_SHARE
    return request


def _update_member(program: str, member: str) -> account_pb2.UpdateMemberRequest:
    card = account_pb2.Identifier(kind="card", value=fresh())
    return account_pb2.UpdateMemberRequest(
        program=program,
        member=member,
        changes=account_pb2.MemberChanges(billing_day=3),
        update_mask={"paths": ["billing_day"]},
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
    "GetAccount": lambda p, m: ledger_pb2.GetAccountRequest(
        program=p, member=m, windows=[_window()]
    ),
    "BatchGetAccounts": lambda p, m: ledger_pb2.BatchGetAccountsRequest(
        program=p, members=[m, "nobody"], windows=[_window()]
    ),
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
    "WatchChanges": lambda p, m: ledger_pb2.WatchChangesRequest(cursors={1: 1}, buckets=[1, 2]),
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
        **_to(p, "cousin"), group="family", role="member", on_join="LEAVE_BEHIND"
    ),
    "RemoveGroupMember": lambda p, m: group_pb2.RemoveGroupMemberRequest(
        **_to(p, "uncle"), group="family", on_leave="TAKE_SHARE"
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

TEXTS = (
    "",
    " ",
    "x" * 129,
    "x" * 20_000,
    "\0",
    "a\nb\rc",
    "../../etc/passwd",
    "'; DROP TABLE account; --",
    "%s%n{0}${jndi:ldap://x}",
    "naïve-émile",
    "\u202edemmep\u2066",
    "\U0001f4a9" * 60,
    "9" * 400,
    "NaN",
    "-1",
    "1e308",
    "0",
    "UTC",
    "points_earned:",
    "points_earned:nothing",
    NOWHERE,
)
INTEGERS = (0, 1, -1, 10**15, 10**15 + 1, -(10**15) - 1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
TIMES = (
    (0, 0),
    (0, -1),
    (0, 10**9),
    (0, 999_999_999),
    (-62_135_596_800, 0),
    (-62_135_596_801, 0),
    (253_402_300_799, 999_999_999),
    (253_402_300_800, 0),
    (2**63 - 1, 0),
    (-(2**63), 0),
)


# A field's descriptor is `Any` below: the types of its two implementations do not agree.


def mutants(message: Message, depth: int = 0) -> Iterator[tuple[str, Message]]:
    """Copies of a message with one field, at any depth, missing, oversized or hostile."""
    for field in message.DESCRIPTOR.fields:
        cleared = _copy(message)
        cleared.ClearField(field.name)
        yield f"{field.name} missing", cleared
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _of_map(message, field)
        elif field.message_type is None:
            yield from _of_scalar(message, field)
        elif depth < DEPTH and field.message_type.full_name != "google.protobuf.Struct":
            yield from _of_message(message, field, depth)


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _of_map(message: Message, field: Any) -> Iterator[tuple[str, Message]]:
    for key, value in ((0, 2**64 - 1), (2**32 - 1, 0), (63, 1)):
        copy = _copy(message)
        getattr(copy, field.name)[key] = value
        yield f"{field.name}[{key}]", copy
    copy = _copy(message)
    getattr(copy, field.name).update(dict.fromkeys(range(4097), 1))
    yield f"{field.name} oversized", copy


def _of_scalar(message: Message, field: Any) -> Iterator[tuple[str, Message]]:
    for value in _values(field):
        copy = _copy(message)
        if field.is_repeated:
            getattr(copy, field.name).append(value)
        else:
            setattr(copy, field.name, value)
        yield f"{field.name}={str(value)[:40]!r}", copy
    if field.is_repeated:
        copy = _copy(message)
        getattr(copy, field.name).extend([_values(field)[-1]] * 5000)
        yield f"{field.name} oversized", copy


def _values(field: Any) -> tuple[Any, ...]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return tuple(text.encode() for text in TEXTS)
        return TEXTS
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return (True, False)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return (0, 999, -1, *field.enum_type.values_by_number)
    low, high = {
        FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    }.get(field.cpp_type, (-(2**63), 2**63 - 1))
    return tuple(value for value in INTEGERS if low <= value <= high)


def _of_message(message: Message, field: Any, depth: int) -> Iterator[tuple[str, Message]]:
    inner_type = GetMessageClass(field.message_type)
    values = [(inner_type(), "empty")]
    if inner_type is Timestamp:
        values += [(Timestamp(seconds=s, nanos=n), f"{s}.{n}") for s, n in TIMES]
    else:
        given = getattr(message, field.name)
        template = (given[0] if len(given) else inner_type()) if field.is_repeated else given
        values += [(inner, f"{name}") for name, inner in mutants(template, depth + 1)]
    for inner, name in values:
        copy = _copy(message)
        if field.is_repeated:
            copy.ClearField(field.name)
            getattr(copy, field.name).append(inner)
        else:
            getattr(copy, field.name).CopyFrom(inner)
        yield f"{field.name}.{name}", copy
    if field.is_repeated and getattr(message, field.name):
        copy = _copy(message)
        getattr(copy, field.name).extend([getattr(message, field.name)[0]] * 2001)
        yield f"{field.name} oversized", copy


def garbage(dice: random.Random, valid: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes that are no message, and valid bytes with a few of them changed."""
    yield "random bytes", dice.randbytes(dice.randrange(1, 300))
    yield "an endless length", b"\x0a\xff\xff\xff\xff\x0f"
    yield "nested groups", b"\x0b" * 500
    for _ in range(6):
        spoiled = bytearray(valid or b"\0")
        for _ in range(dice.randrange(1, 4)):
            spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
        yield f"spoiled {bytes(spoiled).hex()}", bytes(spoiled)

"""Merging members, groups and fleets: methods of `AccountService`."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from chassis.paging import decode_token, encode_token, page_size
from kernel.ids import EPOCH, microseconds
from loyalty.ledger.v1 import group_pb2, resources_pb2
from services.ledger.domain.account import AccountKind
from services.ledger.domain.commands import (
    AddGroupMember,
    Command,
    CreateGroup,
    MergeMembers,
    Operation,
    RemoveGroupMember,
)
from services.ledger.domain.groups import GroupRules, OnJoin, OnLeave, Permission
from services.ledger.domain.policy import Policy
from services.ledger.operations import groups
from services.ledger.operations.context import ProgramContext
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.merge import merge_members
from services.ledger.rpc.answers import answer, deadline
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.translate import fill_posting, stamp
from services.ledger.store.pools import Pool, Stay

Request: TypeAlias = (
    group_pb2.MergeMembersRequest
    | group_pb2.CreateGroupRequest
    | group_pb2.AddGroupMemberRequest
    | group_pb2.RemoveGroupMemberRequest
)

_NOT_COMPARED = frozenset({"program", "member", "request_id", "validate_only"})
_FIRST = datetime(1, 1, 1, tzinfo=UTC)


def _command(request: Request, member: str, kind: bytes, operation: Operation) -> Command:
    """The command of a request; its digest is of the request without what is not compared."""
    caller = current_caller()
    canonical = type(request)()
    canonical.CopyFrom(request)  # type: ignore[arg-type]  # it is of the same type
    for field, _ in canonical.ListFields():
        if field.name in _NOT_COMPARED:
            canonical.ClearField(field.name)  # type: ignore[arg-type]  # it has the field
    content = kind + canonical.SerializeToString(deterministic=True)
    return Command(
        organization=caller.organization,
        program=request.program,
        member=member,
        request_id=request.request_id,
        digest=hashlib.sha256(content).digest()[:16],
        operations=(operation,),
        reference=request.reference,
        actor=caller.actor,
    )


def _rules(message: group_pb2.GroupRules) -> GroupRules:
    return GroupRules(
        roles=tuple(
            (each.role, frozenset(Permission(permission) for permission in each.permissions))
            for each in message.roles
        ),
        pooling=message.pooling if message.HasField("pooling") else True,
        on_join=OnJoin(message.on_join or OnJoin.BRING),
        on_leave=OnLeave(message.on_leave or OnLeave.FORFEIT_TO_GROUP),
    )


def _group(program: str, pool: Pool) -> group_pb2.Group:
    rules = group_pb2.GroupRules(
        pooling=pool.rules.pooling,
        on_join=group_pb2.GroupRules.OnJoin.ValueType(pool.rules.on_join),
        on_leave=group_pb2.GroupRules.OnLeave.ValueType(pool.rules.on_leave),
    )
    for role, permissions in pool.rules.roles:
        rules.roles.add(
            role=role,
            permissions=[
                group_pb2.GroupRole.Permission.ValueType(each) for each in sorted(permissions)
            ],
        )
    return group_pb2.Group(
        program=program,
        group=pool.id,
        kind=resources_pb2.Account.Kind.ValueType(pool.kind),
        display_name=pool.display_name,
        rules=rules,
        create_time=stamp(pool.create_time),
    )


def _member(group: Pool, stay: Stay, policy: Policy) -> group_pb2.GroupMember:
    message = group_pb2.GroupMember(
        group=group.id, member=stay.member, role=stay.role, join_time=stamp(stay.join_time)
    )
    if stay.leave_time is not None:
        message.leave_time.CopyFrom(stamp(stay.leave_time))
    for currency, points in enumerate(stay.contributed):
        if points:
            message.contributed[policy.currencies[currency].id] = points
    return message


class GroupServicer:
    """Translates, and decides nothing."""

    _ledger: LedgerContext
    _programs: ProgramContext

    async def MergeMembers(
        self, request: group_pb2.MergeMembersRequest, context: Context
    ) -> group_pb2.MergeMembersResponse:
        """Merge a member into another one."""
        operation = MergeMembers(request.into, request.reason)
        command = _command(request, request.member, b"merge", operation)
        written = await merge_members(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = group_pb2.MergeMembersResponse()
        answer(response, written, request.program, request.into)
        if written.sides:
            side = written.sides[0]
            fill_posting(response.received, side.posting, request.program, side.policy)
        return response

    async def CreateGroup(
        self, request: group_pb2.CreateGroupRequest, context: Context
    ) -> group_pb2.CreateGroupResponse:
        """Create a group or a fleet."""
        kind = AccountKind(request.kind)
        operation = CreateGroup(kind, request.display_name, _rules(request.rules))
        command = _command(request, request.group, b"createGroup", operation)
        written, pool = await groups.create_group(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = group_pb2.CreateGroupResponse(group=_group(request.program, pool))
        return answer(response, written, request.program, request.group)

    async def GetGroup(
        self, request: group_pb2.GetGroupRequest, context: Context
    ) -> group_pb2.Group:
        """Answer one group."""
        organization = current_caller().organization
        pool = await groups.get_group(self._ledger, organization, request.program, request.group)
        return _group(request.program, pool)

    async def UpdateGroup(
        self, request: group_pb2.UpdateGroupRequest, context: Context
    ) -> group_pb2.Group:
        """Change a group's name or rules."""
        name = request.display_name if request.HasField("display_name") else None
        rules = _rules(request.rules) if request.HasField("rules") else None
        organization = current_caller().organization
        pool = await groups.update_group(
            self._ledger,
            self._programs.engine,
            organization,
            request.program,
            request.group,
            (name, rules),
        )
        return _group(request.program, pool)

    async def ListGroups(
        self, request: group_pb2.ListGroupsRequest, context: Context
    ) -> group_pb2.ListGroupsResponse:
        """List the groups of a program."""
        organization = current_caller().organization
        query = {"list": "groups", "organization": organization, "program": request.program}
        position = decode_token(request.page_token, query, (str,))
        after = str(position[0]) if position else ""
        size = page_size(request.page_size)
        found, more = await groups.page_of_groups(
            self._ledger, organization, request.program, after, size
        )
        return group_pb2.ListGroupsResponse(
            groups=[_group(request.program, pool) for pool in found],
            next_page_token=encode_token(query, (found[-1].id,)) if more else "",
        )

    async def AddGroupMember(
        self, request: group_pb2.AddGroupMemberRequest, context: Context
    ) -> group_pb2.AddGroupMemberResponse:
        """Add a member to a group."""
        on_join = OnJoin(request.on_join) if request.on_join else None
        operation = AddGroupMember(request.group, request.role, on_join)
        command = _command(request, request.member, b"addGroupMember", operation)
        written = await groups.change_membership(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = group_pb2.AddGroupMemberResponse()
        for side in written.sides:
            fill_posting(response.received, side.posting, request.program, side.policy)
        return answer(response, written, request.program, request.member)

    async def RemoveGroupMember(
        self, request: group_pb2.RemoveGroupMemberRequest, context: Context
    ) -> group_pb2.RemoveGroupMemberResponse:
        """Take a member out of its group."""
        on_leave = OnLeave(request.on_leave) if request.on_leave else None
        operation = RemoveGroupMember(request.group, on_leave)
        command = _command(request, request.member, b"removeGroupMember", operation)
        written = await groups.change_membership(
            self._ledger, command, validate_only=request.validate_only, deadline=deadline()
        )
        response = group_pb2.RemoveGroupMemberResponse()
        for side in written.sides:
            fill_posting(response.given, side.posting, request.program, side.policy)
        return answer(response, written, request.program, request.member)

    async def ListGroupMembers(
        self, request: group_pb2.ListGroupMembersRequest, context: Context
    ) -> group_pb2.ListGroupMembersResponse:
        """List who belongs to a group."""
        organization = current_caller().organization
        pool = await groups.get_group(self._ledger, organization, request.program, request.group)
        query = {
            "list": "groupMembers",
            "organization": organization,
            "program": request.program,
            "group": request.group,
            "former": request.include_former,
        }
        position = decode_token(request.page_token, query, (int, int, int))
        after = (_FIRST, 0, 0)
        if position:
            after = (_instant(int(position[0])), int(position[1]), int(position[2]))
        found, more = await groups.page_of_stays(
            self._ledger, pool, after, page_size(request.page_size), former=request.include_former
        )
        state = await self._ledger.environment.cache.get(organization, request.program)
        policy = await self._ledger.environment.policy(state.key, state.revision)
        token = ""
        if more:
            joined, account, entry = found[-1].place
            token = encode_token(query, (microseconds(joined), account, entry))
        return group_pb2.ListGroupMembersResponse(
            members=[_member(pool, stay, policy) for stay in found],
            next_page_token=token,
        )


def _instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=max(-(10**16), min(micros, 10**17)))

"""Groups and fleets: created, joined, left, read and changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from kernel.refusals import FieldViolation, InvalidField
from services.ledger.domain.account import AccountKind, Link, Posting
from services.ledger.domain.commands import (
    AddGroupMember,
    Command,
    CreateGroup,
    Enrol,
    RemoveGroupMember,
)
from services.ledger.domain.decide import decide
from services.ledger.domain.fold import Fold
from services.ledger.domain.groups import DEFAULT_ROLES, GroupRules, OnLeave
from services.ledger.domain.membership import check_kind, join, leave
from services.ledger.domain.program_refusals import SettingFixed
from services.ledger.domain.refusals import GroupExists, GroupNotFound, MemberExists
from services.ledger.operations.environment import Addresses
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.operations.plans import Parties, Party, Plan
from services.ledger.operations.post import Written, apply
from services.ledger.operations.read_account import read_accounts
from services.ledger.store import links, pools, rare
from services.ledger.store.accounts import Key
from services.ledger.store.directory import Name
from services.ledger.store.pools import Pool, Stay
from services.ledger.store.tables import Database


def check_rules(rules: GroupRules, kind: AccountKind) -> GroupRules:
    """The rules with the default roles where none are given; INVALID_FIELD for equal names."""
    names = [role for role, _ in rules.roles]
    if len(set(names)) < len(names):
        raise InvalidField(FieldViolation("rules.roles", "have names that are not unique"))
    return rules if names else replace(rules, roles=DEFAULT_ROLES[kind])


@dataclass
class CreatePlan(Plan):
    """The account that becomes a group's."""

    alone = True
    pool: Pool | None = None

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Enrol the group. MEMBER_EXISTS, GROUP_EXISTS, and those of enrolling and of kinds."""
        operation = command.operations[0]
        assert isinstance(operation, CreateGroup)
        fold = parties.folds[party.own]
        account = fold.account
        if account.enrolled:
            person = account.kind is AccountKind.PERSON
            raise (MemberExists if person else GroupExists)(command.member)
        check_kind(fold.policy.config, operation.kind)
        rules = check_rules(operation.rules, operation.kind)
        posting = decide(fold, replace(command, operations=(Enrol(),)))
        account.kind = operation.kind
        self.pool = Pool(
            fold.account.key, account.program, command.member, operation.kind,
            operation.display_name, rules, posting.record_time,
        )  # fmt: skip
        return [(fold, posting)]

    async def save(self, connection: Connection) -> None:
        """Write the group."""
        assert self.pool is not None
        await pools.create(connection, self.pool)


@dataclass
class _MemberPlan(Plan):
    """A member's own account, and a group's."""

    alone = True
    member: Name
    group: Name
    _pool: Pool | None = None
    _own: Key = (0, 0)
    _group_now: str = ""
    _shares: dict[int, tuple[int, int]] = field(default_factory=dict)
    _time: datetime | None = None

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Load the group, and all lots and holds of both accounts."""
        group = parties.addressing.keys.get(self.group)
        own = parties.addressing.keys.get(self.member)
        self._pool = None if group is None else await pools.find(connection, group)
        if self._pool is None or own is None or own not in parties.folds:
            return
        self._own = own = parties.land(own, self.member, stay=True).fold.account.key
        loaded = {key: parties.loaded[key] for key in (own, self._pool.key)}
        await rare.load_lots(connection, loaded, sorted(loaded))
        await rare.load_holds(connection, loaded, [own], [])
        self._group_now = await pools.group_of(connection, own) or ""
        self._shares = await pools.shares(connection, self._pool.key, own)

    def _found(self, party: Party, parties: Parties) -> tuple[Fold, Fold, Pool]:
        """Both accounts, settled, or GROUP_NOT_FOUND."""
        if self._pool is None:
            raise GroupNotFound(self.group.member)
        group = parties.folds[self._pool.key]
        parties.settle(party.fold)
        parties.settle(group)
        return party.fold, group, self._pool


@dataclass
class JoinPlan(_MemberPlan):
    """Joining: what was brought is written with the stay."""

    _role: str = ""
    _entry: int = 0
    _brought: list[int] = field(default_factory=list)

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle both, and join. GROUP_NOT_FOUND, those of `join`."""
        operation = command.operations[0]
        assert isinstance(operation, AddGroupMember)
        own, group, pool = self._found(party, parties)
        postings, self._brought = join(
            own, group, pool.rules, command, self._group_now, party.addressed
        )
        self._role = operation.role or pool.rules.default_role()
        self._time, self._entry = own.now, postings[0][1].first_entry
        return postings

    async def save(self, connection: Connection) -> None:
        """Begin the stay, and link the account."""
        assert self._pool is not None
        assert self._time is not None
        pool, own = self._pool, self._own
        stay = (own, self._entry, self._role, self._time)
        await pools.join(connection, pool.key, stay, self._brought)
        link = Link.POOLED if pool.rules.pooling else Link.GROUPED
        await links.set_link(connection, own, link, pool.key)

    def remember(self, addresses: Addresses) -> None:
        """From now on commands land in the group's account."""
        assert self._pool is not None
        if self._pool.rules.pooling:
            addresses.link(self._own, self._pool.key)


@dataclass
class LeavePlan(_MemberPlan):
    """Leaving, perhaps with a share."""

    _took: bool = False

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle both, and leave. GROUP_NOT_FOUND, those of `leave`."""
        operation = command.operations[0]
        assert isinstance(operation, RemoveGroupMember)
        own, group, pool = self._found(party, parties)
        self._took = (operation.on_leave or pool.rules.on_leave) is OnLeave.TAKE_SHARE
        self._time = own.now
        return leave(own, group, pool.rules, command, self._shares, party.addressed)

    async def save(self, connection: Connection) -> None:
        """End the stay, and unlink the account."""
        assert self._time is not None
        await pools.leave(connection, self._own, self._time, took_share=self._took)
        await links.set_link(connection, self._own, None, None)

    def remember(self, addresses: Addresses) -> None:
        """From now on commands land in the member's own account."""
        addresses.link(self._own, None)


async def create_group(
    context: LedgerContext, command: Command, *, validate_only: bool, deadline: float | None
) -> tuple[Written, Pool]:
    """Create a group."""
    name = await context.name(command.organization, command.program, command.member)
    plan = CreatePlan()
    item = Item(command, name, view=True, plan=plan)
    written = await apply(context, item, validate_only=validate_only, deadline=deadline)
    if plan.pool is not None and not written.replayed:
        return written, plan.pool
    return written, await get_group(context, command.organization, command.program, command.member)


async def change_membership(
    context: LedgerContext, command: Command, *, validate_only: bool, deadline: float | None
) -> Written:
    """Let a member join a group or leave it; the first of `sides` is the group's posting."""
    operation = command.operations[0]
    assert isinstance(operation, (AddGroupMember, RemoveGroupMember))
    name = await context.name(command.organization, command.program, command.member)
    group = await context.name(command.organization, command.program, operation.group)
    joins = isinstance(operation, AddGroupMember)
    plan = JoinPlan(name, group) if joins else LeavePlan(name, group)
    item = Item(command, name, view=True, plan=plan, others=(group,), stay=True)
    return await apply(context, item, validate_only=validate_only, deadline=deadline)


async def get_group(context: LedgerContext, organization: str, program: str, group: str) -> Pool:
    """A group. PROGRAM_NOT_FOUND, GROUP_NOT_FOUND."""
    read = (await read_accounts(context, organization, program, [group], own=True)).get(group)
    if read is None or read.view.kind is AccountKind.PERSON:
        raise GroupNotFound(group)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await pools.find(connection, read.view.key)
    if found is None:
        raise GroupNotFound(group)
    return found


async def update_group(
    context: LedgerContext,
    database: Database,
    organization: str,
    program: str,
    group: str,
    changes: tuple[str | None, GroupRules | None],
) -> Pool:
    """Change a group's name or rules. Those of `get_group`, INVALID_FIELD, SETTING_FIXED."""
    found = await get_group(context, organization, program, group)
    display_name, rules = changes
    rules = found.rules if rules is None else check_rules(rules, found.kind)
    if rules.pooling != found.rules.pooling:
        raise SettingFixed("rules.pooling")
    name = found.display_name if display_name is None else display_name
    changed = replace(found, display_name=name, rules=rules)
    async with database.begin() as connection:
        await pools.update(connection, changed)
    return changed


async def page_of_groups(
    context: LedgerContext, organization: str, program: str, after: str, size: int
) -> tuple[Sequence[Pool], bool]:
    """At most `size` groups with greater ids, and whether more follow. PROGRAM_NOT_FOUND."""
    identity = await context.environment.cache.identity(organization, program)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await pools.page(connection, identity.key, after, size + 1)
    return found[:size], len(found) > size


async def page_of_stays(
    context: LedgerContext,
    group: Pool,
    after: tuple[datetime, int, int],
    size: int,
    *,
    former: bool,
) -> tuple[Sequence[Stay], bool]:
    """At most `size` stays after one, and whether more follow."""
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await pools.stays(connection, group.key, after, size + 1, former=former)
    return found[:size], len(found) > size

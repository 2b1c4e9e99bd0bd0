"""Reading accounts: what members have at the program's now.

What time alone changes is posted before it is read, so that balances, entries and lots always tell
the same story.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from kernel.refusals import CounterNotFound, MemberNotFound
from services.ledger.domain import counters
from services.ledger.domain.account import Account, State
from services.ledger.domain.counters import Window
from services.ledger.domain.policy import Policy
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import AccountView, view_of
from services.ledger.store import accounts as account_rows
from services.ledger.store import links as links_rows
from services.ledger.store.accounts import Key, Loaded
from services.ledger.store.directory import Name


@dataclass(frozen=True, slots=True)
class AccountRead:
    """An account, the policy it is read under, and the counter windows asked for."""

    view: AccountView
    policy: Policy
    counters: tuple[tuple[Window, int], ...] = ()


async def read_accounts(
    context: LedgerContext,
    organization: str,
    program: str,
    members: Sequence[str],
    windows: Sequence[Window] = (),
    *,
    own: bool = False,
) -> dict[str, AccountRead]:
    """The accounts of members, by member; members who are not enrolled are left out.

    Of members whose points are elsewhere that account, unless their `own` is asked for.
    Refusals: PROGRAM_NOT_FOUND, COUNTER_NOT_FOUND.
    """
    identity = await context.environment.cache.identity(organization, program)
    names = [context.environment.name(organization, member, identity.key) for member in members]
    if windows:
        state = await context.environment.cache.get(organization, program)
        policy = await context.environment.policy(state.key, state.revision)
        for window in windows:
            if window.counter not in policy.counter_numbers:
                raise CounterNotFound(window.counter)
    keys = await addresses(context, names)
    if not keys:
        return {}
    reads = await _settled_reads(context, set(keys.values()), windows)
    gone = [
        name for name, key in keys.items() if key in reads and reads[key].view.state is State.ERASED
    ]
    if gone:
        # What is remembered of an erased person leads to nobody: ask the directory again.
        for name in gone:
            context.environment.addresses.forget(name)
            del keys[name]
        found = await addresses(context, gone)
        keys.update(found)
        reads.update(await _settled_reads(context, set(found.values()), windows))
    landed = {key: key for key in keys.values() if key in reads}
    if any(reads[key].view.lands_in or reads[key].view.group_key for key in landed):
        await _follow(context, reads, landed, windows, own=own)
    member = context.environment.addresses.member
    return {
        name.member: _named(reads[landed[key]], name, member(name))
        for name, key in keys.items()
        if key in landed and reads[landed[key]].view.sequence
    }


def _named(read: AccountRead, name: Name, member: str) -> AccountRead:
    """Say whose account was read, where its member has another id by now."""
    if read.view.member or member == name.member:
        return read
    return replace(read, view=replace(read.view, member=member))


async def _follow(
    context: LedgerContext,
    reads: dict[Key, AccountRead],
    landed: dict[Key, Key],
    windows: Sequence[Window],
    *,
    own: bool,
) -> None:
    """Read the accounts that others are linked to, and say whose they are."""
    while not own:
        links = {key: to for key, place in landed.items() if (to := reads[place].view.lands_in)}
        if not links:
            break
        reads.update(await _settled_reads(context, set(links.values()) - reads.keys(), windows))
        landed.update(links)
    groups = {key for place in landed.values() if (key := reads[place].view.group_key)}
    wanted = {place for key, place in landed.items() if place != key} | groups
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        members = await links_rows.members_of(connection, sorted(wanted))
    for place in set(landed.values()):
        view = reads[place].view
        group = members.get(view.group_key, "") if view.group_key else ""
        member = members.get(place, view.member)
        reads[place] = replace(reads[place], view=replace(view, member=member, group=group))


async def read_account(
    context: LedgerContext, organization: str, program: str, member: str, *, own: bool = False
) -> AccountRead:
    """An enrolled member's account, with everything due posted.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND.
    """
    read = (await read_accounts(context, organization, program, [member], own=own)).get(member)
    if read is None:
        raise MemberNotFound(member)
    return read


async def read_views(context: LedgerContext, keys: Sequence[Key]) -> dict[Key, AccountView]:
    """Accounts as they are now, with everything due posted."""
    reads = await _settled_reads(context, set(keys), ())
    if any(read.view.group_key for read in reads.values()):
        await _follow(context, reads, {key: key for key in reads}, (), own=True)
    return {key: read.view for key, read in reads.items()}


async def with_group(context: LedgerContext, view: AccountView) -> AccountView:
    """The view with the name of the group that its member belongs to."""
    assert view.group_key is not None
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        members = await links_rows.members_of(connection, [view.group_key])
    return replace(view, group=members.get(view.group_key, ""))


async def addresses(context: LedgerContext, names: Sequence[Name]) -> dict[Name, Key]:
    """Where the members' accounts are; members without one are left out."""
    known: dict[Name, Key] = {}
    unknown: list[Name] = []
    for name in names:
        key = context.environment.addresses.get(name)
        if key is None:
            unknown.append(name)
        else:
            known[name] = key
    if unknown:
        found = await context.finder.read(unknown)
        for name in unknown:
            if name in found.keys:
                known[name] = found.keys[name]
                context.environment.addresses.remember(name, found.keys[name])
        context.environment.addresses.learn(found)
    return known


async def _settled_reads(
    context: LedgerContext, keys: Collection[Key], windows: Sequence[Window]
) -> dict[Key, AccountRead]:
    reads, due = await _read(context, sorted(keys), windows)
    if due:
        await context.lanes.settle(due)
        again, _ = await _read(context, due, windows)
        reads.update(again)
    return reads


async def _read(
    context: LedgerContext, keys: Sequence[Key], windows: Sequence[Window]
) -> tuple[dict[Key, AccountRead], list[Key]]:
    server_now = context.environment.clock()
    if windows:
        # Counters and balances of one instant.
        async with (
            context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            loaded = await account_rows.read_whole(connection, keys)
            await _load_windows(context, connection, loaded, windows)
    else:
        loaded = await context.reader.read(keys)
    reads: dict[Key, AccountRead] = {}
    due: list[Key] = []
    for key in keys:
        found = loaded.get(key)
        if found is None:
            continue
        account = found.account
        now = max(found.clock or server_now, account.record_time)
        policy = await context.environment.policy(found.program, found.revision)
        view = view_of(account, now, found.revision)
        values = _values(account, policy, view, windows)
        reads[key] = AccountRead(view, policy, values)
        if account.next_due_time is not None and account.next_due_time <= now:
            due.append(key)
    return reads, due


async def _load_windows(
    context: LedgerContext,
    connection: Connection,
    loaded: dict[Key, Loaded],
    windows: Sequence[Window],
) -> None:
    ranges = set()
    server_now = context.environment.clock()
    for key, found in loaded.items():
        policy = await context.environment.policy(found.program, found.revision)
        now = max(found.clock or server_now, found.account.record_time)
        for window in windows:
            number = policy.counter_numbers.get(window.counter)
            if number is not None:
                first, last = counters.bounds(window, now, policy.zone)
                ranges.add((*key, number, *counters.months_of(first, last)))
    if ranges:
        await account_rows.load_counters(connection, loaded, sorted(ranges))


def _values(
    account: Account, policy: Policy, view: AccountView, windows: Sequence[Window]
) -> tuple[tuple[Window, int], ...]:
    values = []
    for window in windows:
        number = policy.counter_numbers.get(window.counter)
        if number is None:
            continue
        first, last = counters.bounds(window, view.read_time, policy.zone)
        months = {m: days for (n, m), days in account.counters.items() if n == number}
        values.append((window, counters.total(months, first, last)))
    return tuple(values)

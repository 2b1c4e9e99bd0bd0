"""Reading accounts as they were: what was known at an instant, or what counted by one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from services.ledger.domain.account import Account, AccountKind, Balance, Kind
from services.ledger.domain.counters import Window
from services.ledger.domain.fold import Fold
from services.ledger.domain.policy import Policy
from services.ledger.domain.rebuild import Rebuilder, add_to_totals
from services.ledger.domain.settle import settle
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import AccountView
from services.ledger.operations.read_account import AccountRead, addresses, read_accounts
from services.ledger.store import as_of, links, pools
from services.ledger.store.accounts import Key

_HOPS_MAX = 20


@dataclass(frozen=True, slots=True)
class AsOf:
    """An instant in the past, in one of the two times; the other one is None."""

    effective_time: datetime | None = None
    record_time: datetime | None = None


async def read_accounts_as_of(
    context: LedgerContext,
    organization: str,
    program: str,
    members: Sequence[str],
    instant: AsOf,
    windows: Sequence[Window] = (),
    *,
    own: bool = False,
) -> dict[str, AccountRead]:
    """The accounts of members as they were; who was no member then is left out.

    A member's points are looked for where they were then, unless the member's `own` account is
    asked for. An instant later than the program's now is now. Nothing is written that an ordinary
    read would not write. Refusals: PROGRAM_NOT_FOUND, COUNTER_NOT_FOUND.
    """
    reads = await read_accounts(context, organization, program, members, windows, own=own)
    identity = await context.environment.cache.identity(organization, program)
    names = [context.environment.name(organization, member, identity.key) for member in reads]
    keys = await addresses(context, names)
    found: dict[str, AccountRead] = {}
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        past = _Past(context, connection, identity.key, instant, own=own)
        for name, key in keys.items():
            read = reads[name.member]
            view = await past.view(key, read)
            if view is not None:
                found[name.member] = replace(read, view=view)
    return found


class _Past:
    """Reads accounts of one program as of one instant."""

    def __init__(
        self,
        context: LedgerContext,
        connection: Connection,
        program: int,
        instant: AsOf,
        *,
        own: bool,
    ) -> None:
        self._context = context
        self._connection = connection
        self._program = program
        self._instant = instant
        self._own = own
        self._policy: Policy | None = None

    async def view(self, key: Key, read: AccountRead) -> AccountView | None:
        """An account as it was, or the one that it was linked to then."""
        now = read.view.read_time
        for _ in range(_HOPS_MAX):
            if self._instant.record_time is not None:
                view, link = await self._known(key, read, min(self._instant.record_time, now))
            else:
                instant = min(self._instant.effective_time or now, now)
                view, link = await self._counted(key, read, instant)
            if view is None:
                return None
            # What kind of link it was is told by whose account it leads to.
            group = None if link is None else await pools.find(self._connection, link)
            if link is None or self._own or (group is not None and not group.rules.pooling):
                return await self._named(key, read, replace(view, group=group.id if group else ""))
            key = link
        return None

    async def _known(
        self, key: Key, read: AccountRead, instant: datetime
    ) -> tuple[AccountView | None, Key | None]:
        """What was recorded by an instant, settled to it."""
        builder: Rebuilder | None = None
        policy = await self._policy_at(read, instant)
        async for entry, posting in as_of.entries_until(self._connection, key, instant):
            builder = builder or Rebuilder(key, policy.zone)
            builder.read(entry, posting)
        if builder is None:
            return None, None
        account = builder.account
        settle(Fold(account, policy, instant, lambda: 0))
        return _view(account, read.view, instant), account.link_to

    async def _counted(
        self, key: Key, read: AccountRead, instant: datetime
    ) -> tuple[AccountView | None, Key | None]:
        """What counts by an instant, whenever it was recorded."""
        sums = await as_of.sums_until(self._connection, key, instant)
        if not sums:
            return None, None
        balances: dict[int, Balance] = {}
        last = link = 0
        for each in sums:
            last = max(last, each.last)
            if each.kind in {Kind.LINKED, Kind.UNLINKED}:
                link = max(link, each.last)
            if each.currency is not None:
                balance = balances.setdefault(each.currency, Balance())
                available, pending, held, debt = each.change
                balance.available += available
                balance.pending += pending
                balance.held += held
                balance.debt += debt
                add_to_totals(balance, each.kind, each.brought)
                add_to_totals(balance, each.kind, each.took)
        view = replace(read.view, key=key, balances=balances, read_time=instant, sequence=last)
        return view, await as_of.link_of(self._connection, key, link) if link else None

    async def _named(self, key: Key, read: AccountRead, view: AccountView) -> AccountView:
        """Say whose account it was, where that is another one than now."""
        if key == read.view.key:
            return view
        group = await pools.find(self._connection, key)
        kind = AccountKind.PERSON if group is None else group.kind
        members = await links.members_of(self._connection, [key])
        return replace(view, member=members.get(key, ""), kind=kind)

    async def _policy_at(self, read: AccountRead, instant: datetime) -> Policy:
        """The configuration that was in force; it is looked for once."""
        if self._policy is None:
            revision = await as_of.revision_at(self._connection, self._program, instant)
            self._policy = (
                read.policy
                if revision is None
                else await self._context.environment.policy(self._program, revision)
            )
        return self._policy


def _view(account: Account, now: AccountView, instant: datetime) -> AccountView:
    return replace(
        now,
        key=account.key,
        state=account.state,
        version=account.version,
        sequence=account.sequence,
        read_time=instant,
        enrol_time=account.enrol_time,
        last_activity_time=account.last_activity_time,
        balances=account.balances,
    )

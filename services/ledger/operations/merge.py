"""Merging a member into another one, in all programs of the organization, in one commit."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from chassis.database import Connection
from kernel.refusals import FieldViolation, InvalidField, MemberNotFound
from services.ledger.domain.account import AccountKind, Link, Posting
from services.ledger.domain.commands import Command, MergeMembers
from services.ledger.domain.fold import Fold
from services.ledger.domain.merging import Months, Pair, merge
from services.ledger.domain.refusals import MemberInGroup, MemberMerged
from services.ledger.operations.addressing import Addressing
from services.ledger.operations.environment import Addresses
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.operations.plans import Parties, Party, Plan
from services.ledger.operations.post import Written, apply
from services.ledger.store import accounts as account_rows
from services.ledger.store import links, merges, rare
from services.ledger.store.accounts import Key
from services.ledger.store.directory import Name
from services.ledger.store.merges import Known, Place


@dataclass
class MergePlan(Plan):
    """Both people, locked in the directory, and their accounts by program."""

    command: Command
    member: Name
    into: Name
    alone = True
    _people: dict[Name, Known] = field(default_factory=dict)
    _keys: dict[int, tuple[Key, Key]] = field(default_factory=dict)
    _months: dict[Key, Months] = field(default_factory=dict)

    async def prepare(self, connection: Connection, addressing: Addressing) -> Collection[Key]:
        """Lock the people, and find or make their accounts."""
        self._people = await merges.lock_people(
            connection, [self.member, self.into], lock=not addressing.dry
        )
        self._keys, self._months = {}, {}
        if len(self._people) < 2:
            return []
        old, new = (self._people[name].person for name in (self.member, self.into))
        places = await merges.accounts_of(connection, self.command.organization, [old, new])
        theirs = {place.program: place.key for place in places if place.person == new}
        missing = [place for place in places if place.person == old and place.program not in theirs]
        if missing and old != new:
            theirs.update(await self._make(addressing, missing))
        self._keys = {
            place.program: (place.key, theirs[place.program])
            for place in places
            if place.person == old and place.program in theirs
        }
        return [key for pair in self._keys.values() for key in pair]

    async def _make(self, addressing: Addressing, missing: list[Place]) -> dict[int, Key]:
        """Accounts for the remaining member in programs where only the other one has one."""
        wanted = {
            self.into._replace(program=place.program): replace(
                self.command, program=place.program_id
            )
            for place in missing
        }
        await addressing.make(wanted)
        return {name.program: addressing.keys[name] for name in wanted}

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Load all lots and holds, and the counters of the member that is merged away."""
        for old, new in self._keys.values():
            loaded = {key: parties.loaded[key] for key in (old, new)}
            await rare.load_lots(connection, loaded, [old, new])
            await merges.load_marked_lots(connection, loaded, [old])
            await rare.load_holds(connection, loaded, [old], [])
            self._months[old] = await merges.counters_of(connection, old)
            months = [(*new, *month, month[1]) for month in self._months[old]]
            if months:
                await account_rows.load_counters(connection, loaded, months)

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Refuse what cannot be merged, settle, and merge."""
        operation = command.operations[0]
        assert isinstance(operation, MergeMembers)
        parties.require(self.into)
        if self.member == self.into:
            raise InvalidField(FieldViolation("into", "is the member itself"))
        keys = parties.addressing.keys
        for name, own, asked in (
            (self.member, party.own, "member"),
            (self.into, keys[self.into], "into"),
        ):
            known = self._people.get(name)
            if known is None:
                raise MemberNotFound(name.member)
            if known.into is not None:
                raise MemberMerged(name.member, known.into)
            if parties.folds[own].account.kind is not AccountKind.PERSON:
                raise InvalidField(FieldViolation(asked, "is a group"))
        first, pairs = self.member.program, []
        for program in sorted(self._keys, key=lambda program: (program != first, program)):
            mine, theirs = (parties.folds[key] for key in self._keys[program])
            mine.account.member, theirs.account.member = self.member.member, self.into.member
            for fold in (mine, theirs):
                self._check_link(parties, fold)
            pairs.append(Pair(mine, theirs, self._months[self._keys[program][0]]))
        for pair in pairs:
            parties.settle(pair.old)
            parties.settle(pair.new)
        return merge(pairs, command, operation.reason or None)

    def _check_link(self, parties: Parties, fold: Fold) -> None:
        account = fold.account
        if account.link is None or account.link_to is None:
            return
        other = parties.folds[account.link_to].account.member
        if account.link is Link.MERGED:
            raise MemberMerged(account.member, other)
        raise MemberInGroup(account.member, other)

    def viewed(self, parties: Parties) -> Fold | None:
        """The account of the member that remains, in the program addressed."""
        return parties.folds[self._keys[self.member.program][1]]

    def remember(self, addresses: Addresses) -> None:
        """The old accounts are linked to the new ones."""
        for old, new in self._keys.values():
            addresses.link(old, new)

    async def save(self, connection: Connection) -> None:
        """Link the accounts and the people."""
        for old, new in self._keys.values():
            await links.set_link(connection, old, Link.MERGED, new)
        old_person, new_person = (self._people[name].person for name in (self.member, self.into))
        await merges.redirect(connection, old_person, new_person)


async def merge_members(
    context: LedgerContext, command: Command, *, validate_only: bool, deadline: float | None
) -> Written:
    """Merge a member into another; the first of `sides` is what was recorded of that one."""
    operation = command.operations[0]
    assert isinstance(operation, MergeMembers)
    name = await context.name(command.organization, command.program, command.member)
    into = await context.name(command.organization, command.program, operation.into)
    plan = MergePlan(command, name, into)
    item = Item(command, name, view=True, plan=plan, others=(into,), stay=True)
    return await apply(context, item, validate_only=validate_only, deadline=deadline)

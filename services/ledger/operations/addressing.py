"""Which accounts the commands of a transaction are for, made where they have to be."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from chassis.database import Connection
from kernel import calendar, ids
from services.ledger.domain.account import Account
from services.ledger.domain.commands import Command
from services.ledger.domain.digest import first_digest
from services.ledger.operations.environment import Environment
from services.ledger.operations.outcomes import Item
from services.ledger.store import directory
from services.ledger.store.accounts import Key, Loaded
from services.ledger.store.directory import Created, Name, NewAccount

_NOTHING_CREATED = Created(frozenset(), frozenset())


class Addressing:
    """Finds accounts by names. With `dry` it imagines what it would make."""

    def __init__(
        self, environment: Environment, connection: Connection, now: datetime, *, dry: bool
    ) -> None:
        self._environment = environment
        self._connection = connection
        self._now = now
        self.dry = dry
        self._created = _NOTHING_CREATED
        self.keys: dict[Name, Key] = {}
        self.imagined: dict[Key, Loaded] = {}
        self._number = environment.random_bits(21)
        # By (organization, program), as this transaction found them.
        self._auto_enrol: dict[tuple[str, str], bool] = {}

    async def address(self, items: Sequence[Item]) -> None:
        """Find the accounts of the members addressed, and make those that commands enrol."""
        unknown: dict[Name, Command] = {}
        others: set[Name] = set()
        for item in items:
            if item.name is None or item.command is None:
                continue
            key = self._environment.addresses.get(item.name)
            if key is not None:
                self.keys[item.name] = key
            elif item.name not in unknown or not unknown[item.name].enrols():
                known = unknown.get(item.name)
                if known is None or item.command.enrols() or item.command.may_enrol():
                    unknown[item.name] = item.command
            others.update(item.others)
        if unknown or others:
            await self._find({*unknown, *others} - self.keys.keys())
        wanted = {
            name: command
            for name, command in unknown.items()
            if name not in self.keys and await self._enrols(command)
        }
        if wanted:
            await self.make(wanted)

    async def make(self, wanted: Mapping[Name, Command]) -> None:
        """Make accounts for members that have none, whoever else makes them just now."""
        new = [await self._new_account(name, command) for name, command in wanted.items()]
        if self.dry:
            for each in new:
                await self._imagine(each, wanted[each.name])
            return
        made = await directory.create(self._connection, new)
        self._created = Created(
            self._created.accounts | made.accounts, self._created.people | made.people
        )
        await self._find([each.name for each in new])

    async def forget_unused(self, enrolled: Collection[Key]) -> list[Key]:
        """Unmake the accounts that nothing came of; which those are."""
        unused = self._created.accounts.difference(enrolled)
        if unused:
            names = {key: name for name, key in self.keys.items()}
            people = [
                person
                for key in unused
                if (person := (names[key].name_bucket, names[key].organization, names[key].member))
                in self._created.people
            ]
            await directory.forget(self._connection, list(unused), people)
        return list(unused)

    async def _find(self, names: Collection[Name]) -> None:
        addresses = self._environment.addresses
        missing = []
        for name in names:
            key = addresses.get(name)
            if key is None:
                missing.append(name)
            else:
                self.keys[name] = key
        if missing:
            found = await directory.find(self._connection, missing)
            self.keys.update(found.keys)
            addresses.learn(found)

    async def _enrols(self, command: Command) -> bool:
        if command.enrols():
            return True
        if not command.may_enrol():
            return False
        key = (command.organization, command.program)
        known = self._auto_enrol.get(key)
        if known is None:
            program = await self._environment.cache.get(*key)
            known = self._auto_enrol[key] = program.config.auto_enrol
        return known

    async def _new_account(self, name: Name, command: Command) -> NewAccount:
        environment = self._environment
        identity = await environment.cache.identity(command.organization, command.program)
        return NewAccount(
            name=name,
            person=self._surrogate(),
            account=self._surrogate(),
            sandbox=identity.sandbox,
            enrol_time=calendar.EARLIEST,
        )

    def _surrogate(self) -> int:
        """A number that no other one of this transaction is equal to, however many it makes.

        Two people with one number would share an account. Numbers of other transactions of the same
        millisecond are kept apart by chance, and the database refuses the rest.
        """
        self._number += 1
        return ids.surrogate(self._now, self._number)

    async def _imagine(self, new: NewAccount, command: Command) -> None:
        """An account that does not exist, for answering as if."""
        program = await self._environment.cache.get(command.organization, command.program)
        key = (new.name.name_bucket, new.account)
        account = Account(
            bucket=key[0],
            id=key[1],
            program=program.key,
            member=new.name.member,
            enrol_time=new.enrol_time,
            record_time=new.enrol_time,
            sandbox=program.sandbox,
            digest=first_digest(*key),
            enrolled=False,
        )
        self.keys[new.name] = key
        self.imagined[key] = Loaded(
            account, program.key, program.revision, program.clock, posted=program.posted
        )

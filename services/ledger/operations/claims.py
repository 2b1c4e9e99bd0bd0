"""Identifiers and billing days that commands of one lane transaction set for members."""

from collections.abc import Iterable

from chassis.database import Connection
from services.ledger.domain.account import Account
from services.ledger.domain.commands import Command
from services.ledger.domain.identifiers import Identifier, IdentifierExists, check_count
from services.ledger.store import identifiers as rows
from services.ledger.store.directory import Name
from services.ledger.store.identifiers import Person


class Outrun(Exception):
    """Somebody else was faster: what was read is no longer so; the transaction is done again."""


class Claims:
    """What is claimed by commands that are applied; nothing where none of them claims anything."""

    def __init__(self) -> None:
        self._owners: dict[Identifier, Person] = {}
        self._people: dict[Name, Person] = {}
        self._counts: dict[Person, int] = {}
        self._claimed: dict[Identifier, Person] = {}
        self._days: dict[tuple[int, int], int] = {}

    async def load(
        self, connection: Connection, wanted: Iterable[tuple[Name | None, Command | None]]
    ) -> None:
        """Read whose the identifiers are that commands claim."""
        claiming = [
            (name, command.identifiers())
            for name, command in wanted
            if name is not None and command is not None and command.identifiers()
        ]
        if not claiming:
            return
        self._people = await rows.people(connection, list({name: None for name, _ in claiming}))
        named = sorted({each for _, some in claiming for each in some})
        self._owners = await rows.owners(connection, named)
        self._counts = await rows.counts(connection, self._people.values())

    def check(self, name: Name, command: Command) -> None:
        """Refuse with IDENTIFIER_EXISTS or LIMIT_REACHED what cannot be the member's."""
        claimed = command.identifiers()
        if not claimed:
            return
        person = self._people.get(name)
        fresh = 0
        for identifier in dict.fromkeys(claimed):
            owner = self._owners.get(identifier)
            if owner is None:
                fresh += 1
            elif owner != person:
                raise IdentifierExists(identifier.kind)
        check_count(fresh + (0 if person is None else self._counts.get(person, 0)))

    def take(self, name: Name, account: Account, command: Command) -> None:
        """The command was applied: what it claims is its member's."""
        day = command.billing_day()
        if day:
            account.billing_day = day
            self._days[account.key] = day
        person = self._people.get(name)
        if person is None:
            return
        for identifier in command.identifiers():
            if identifier not in self._owners:
                self._owners[identifier] = self._claimed[identifier] = person
                self._counts[person] = self._counts.get(person, 0) + 1

    async def save(self, connection: Connection) -> None:
        """Write what was claimed. Raises Outrun where somebody else claimed it meanwhile."""
        if self._days:
            await rows.set_billing_days(connection, self._days)
        if self._claimed and not await rows.insert(connection, self._claimed):
            raise Outrun

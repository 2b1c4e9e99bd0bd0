"""Commands that touch several accounts: what a plan is given, and what it does at each step."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from chassis.database import Connection
from kernel.refusals import MemberNotFound
from services.ledger.domain.account import Posting
from services.ledger.domain.commands import Command
from services.ledger.domain.fold import Fold
from services.ledger.domain.permissions import Addressed
from services.ledger.operations.addressing import Addressing
from services.ledger.operations.environment import Addresses
from services.ledger.store.accounts import Key, Loaded
from services.ledger.store.directory import Name


@dataclass(slots=True)
class Party:
    """A member in a transaction: its own account, and the fold where its commands land."""

    own: Key
    fold: Fold
    addressed: Addressed | None = None


@dataclass(frozen=True, slots=True)
class Parties:
    """Finds members among the accounts of a transaction. `folds` are of all that were loaded.

    `settle` posts what is due for an account, which is kept whatever becomes of the command.
    """

    addressing: Addressing
    folds: Mapping[Key, Fold]
    loaded: dict[Key, Loaded]
    land: Callable[..., Party]
    settle: Callable[[Fold], int]

    def find(self, name: Name) -> Party | None:
        """A member who is enrolled, where its commands land; None if there is none."""
        own = self.addressing.keys.get(name)
        if own is None or own not in self.folds or not self.folds[own].account.enrolled:
            return None
        return self.land(own, name)

    def require(self, name: Name) -> Party:
        """A member who is enrolled, or MEMBER_NOT_FOUND."""
        party = self.find(name)
        if party is None:
            raise MemberNotFound(name.member)
        return party


class Plan:
    """One command of several accounts, from addressing to saving."""

    # Set where the command changes where commands land: it has a transaction of its own.
    alone: ClassVar[bool] = False

    async def prepare(
        self, connection: Connection, addressing: Addressing
    ) -> Collection[Key] | None:
        """Before the lock: find what else is to be locked."""

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Under the lock, after accounts and balances were loaded: load what else it needs."""

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle and fold: the posting of the member addressed, then the others'; or refuse."""
        raise NotImplementedError

    def viewed(self, parties: Parties) -> Fold | None:
        """Whose account is answered, where it is not the one of the request's posting."""

    def remember(self, addresses: Addresses) -> None:
        """Know the new links from now on; called after the commit."""

    async def save(self, connection: Connection) -> None:
        """Write what is no posting. Called where the command was applied, before postings are."""

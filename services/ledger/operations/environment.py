"""What lane transactions are given: time, randomness, configurations, members' accounts."""

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kernel.ids import bucket_of
from services.ledger.domain.policy import Policy
from services.ledger.store.accounts import Key
from services.ledger.store.directory import Found, Name
from services.ledger.store.programs import ProgramCache

ADDRESSES_MAX = 500_000
POLICIES_MAX = 2_000


def server_time() -> datetime:
    """The server's clock."""
    return datetime.now(UTC)


class Addresses:
    """Which account a member has, remembered: of at most `most` members, the latest.

    An account stays a member's for ever. Where it is linked to is only a hint: what is locked for a
    command. The account's own row says whether it is so.
    """

    def __init__(self, most: int = ADDRESSES_MAX) -> None:
        self._most = most
        self._known: dict[Name, Key] = {}
        self._links: dict[Key, Key] = {}
        self._aliases: dict[Name, str] = {}

    def get(self, name: Name) -> Key | None:
        """The account of a member where it is known here."""
        return self._known.get(name)

    def remember(self, name: Name, key: Key) -> None:
        """Know a committed account from now on."""
        if len(self._known) >= self._most and name not in self._known:
            del self._known[next(iter(self._known))]
        self._known[name] = key

    def learn(self, found: Found) -> None:
        """Know links and aliases that the directory answered."""
        for key, to in found.links.items():
            self.link(key, to)
        if len(self._aliases) + len(found.aliases) > self._most:
            self._aliases.clear()
        self._aliases.update(found.aliases)

    def member(self, name: Name) -> str:
        """Whose account a name leads to: somebody else's after a merge."""
        return self._aliases.get(name, name.member) if self._aliases else name.member

    def link(self, key: Key, to: Key | None) -> None:
        """An account was seen linked to another one, or to none."""
        if to is None:
            self._links.pop(key, None)
            return
        if len(self._links) >= self._most and key not in self._links:
            del self._links[next(iter(self._links))]
        self._links[key] = to

    @property
    def linked(self) -> bool:
        """Whether any account is thought to be linked."""
        return bool(self._links)

    def landing(self, key: Key) -> Key:
        """The account where commands for an account are thought to land."""
        return self.chain(key)[-1] if key in self._links else key

    def chain(self, key: Key) -> list[Key]:
        """An account and those that it is thought to be linked to, one after the other."""
        chain = [key]
        while (key := self._links.get(key, key)) not in chain:
            chain.append(key)
        return chain

    def forget(self, name: Name) -> None:
        """Ask the directory again: the person was erased."""
        self._known.pop(name, None)


@dataclass
class Environment:
    """Shared by all lanes of a process."""

    cache: ProgramCache
    buckets: int
    clock: Callable[[], datetime] = server_time
    # Ids must differ, not be secret: a generator that is seeded from the system once.
    random_bits: Callable[[int], int] = random.Random().getrandbits  # noqa: S311
    addresses: Addresses = field(default_factory=Addresses)
    # What identifiers are hashed with, once it was read.
    identifier_key: bytes = b""
    _policies: OrderedDict[tuple[int, int], Policy] = field(default_factory=OrderedDict)

    def name(self, organization: str, member: str, program: int) -> Name:
        """A member's name in the directory; `program` is the program's key."""
        return Name(bucket_of(organization, member, self.buckets), organization, member, program)

    def random62(self) -> int:
        """62 random bits, for the id of a lot.

        A transaction's folds hold on to this and not to the transaction: they would never be freed
        but by the collector of cycles.
        """
        return self.random_bits(62)

    async def policy(self, program: int, revision: int) -> Policy:
        """The compiled configuration of a revision, made once."""
        policy = self._policies.get((program, revision))
        if policy is None:
            policy = Policy(revision, await self.cache.config(program, revision))
            self._policies[program, revision] = policy
            if len(self._policies) > POLICIES_MAX:
                self._policies.popitem(last=False)
        return policy

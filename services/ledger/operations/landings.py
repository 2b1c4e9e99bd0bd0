"""Where commands land: in the member's own account, or in the one that it is linked to."""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.database import Connection
from services.ledger.domain.account import AccountKey, Kind, Link, Posting, State
from services.ledger.domain.fold import Fold
from services.ledger.domain.permissions import Addressed
from services.ledger.operations.plans import Party
from services.ledger.store import links, pools
from services.ledger.store.accounts import Key, Loaded, Request, SeenRequest
from services.ledger.store.directory import Name
from services.ledger.store.links import Through

# What was brought and is asked back leaves the group again.
_CONTRIBUTES = {Kind.EARNED, Kind.EARNING_REVERSED, Kind.MOVED_OUT}


@dataclass(slots=True)
class _Stay:
    """What a member contributed to the group that it is in, by currency number."""

    group: AccountKey | None
    contributed: list[int]
    changed: bool = False

    def add(self, currency: int, points: int) -> None:
        while len(self.contributed) <= currency:
            self.contributed.append(0)
        self.contributed[currency] += points
        self.changed = True


class Landings:
    """The links among the accounts of a transaction, and what follows from them."""

    def __init__(self, folds: Mapping[Key, Fold]) -> None:
        self._folds = folds
        self._through: dict[Key, Through] = {}
        self._stays: dict[AccountKey, _Stay] = {}
        self._elsewhere: list[tuple[Request, Posting]] = []

    async def load(self, connection: Connection, loaded: Mapping[Key, Loaded]) -> None:
        """Read what is known of linked accounts, if there are any."""
        linked = [key for key, each in loaded.items() if each.account.link is not None]
        if not linked:
            return
        self._through = await links.through(connection, sorted(linked))
        for key, known in self._through.items():
            loaded[key].account.member = known.member
            to = loaded[key].account.link_to
            if to is not None and to in loaded:
                loaded[to].account.member = known.target_member
            if known.contributed is not None:
                self._stays[key] = _Stay(to, known.contributed)

    def landing(self, own: Key, *, stay: bool) -> Key:
        """The account where a member's commands land; with `stay` groups are not followed."""
        key, account = own, self._folds[own].account
        while (to := account.lands_in()) and not (stay and account.link is Link.POOLED):
            key, account = to, self._folds[to].account
        return key

    def land(self, own: Key, name: Name | None, *, stay: bool = False) -> Party:
        """A member by its own account, and where its commands land."""
        account = self._folds[own].account
        key = own if account.link is None else self.landing(own, stay=stay)
        if key == own:
            return Party(own, self._folds[own])
        frozen, pooled = account.state is State.FROZEN, own
        while account.link is Link.MERGED and account.link_to not in (None, key):
            assert account.link_to is not None
            pooled = account.link_to
            account = self._folds[pooled].account
            frozen = frozen or account.state is State.FROZEN
        known = self._through.get(pooled)
        member = name.member if name is not None and pooled == own else account.member
        if account.link is not Link.POOLED or known is None or known.rules is None:
            return Party(own, self._folds[key], Addressed(pooled, member, frozen))
        role = known.role or ""
        permissions = pools.rules_from_json(known.rules).permissions(role)
        addressed = Addressed(pooled, member, frozen, role, permissions)
        return Party(own, self._folds[key], addressed)

    def through(self, party: Party, of: Key, member: str) -> Party:
        """The same account, for a member that it is not the own one of."""
        frozen = of in self._folds and self._folds[of].account.state is State.FROZEN
        return Party(of, party.fold, Addressed(of, member, frozen))

    def note(self, request: Request, fold: Fold, posting: Posting) -> None:
        """A posting was applied: keep where its request is recorded, and what was contributed."""
        if posting.addressee is None:
            return
        if posting.request_id is not None:
            self._elsewhere.append((request, posting))
        stay = self._stays.get(posting.addressee)
        if stay is not None and stay.group == fold.account.key:
            for entry in posting.entries:
                if entry.kind in _CONTRIBUTES and entry.currency is not None:
                    stay.add(entry.currency, entry.points)

    async def save(self, connection: Connection) -> None:
        """Write it; postings have their places."""
        if self._elsewhere:
            places = [
                (request, SeenRequest(posting.digest or b"", posting.sequence,
                                      posting.record_time, posting.bucket))
                for request, posting in self._elsewhere
            ]  # fmt: skip
            await links.record(connection, places)
        changed = {key: stay.contributed for key, stay in self._stays.items() if stay.changed}
        if changed:
            await pools.contribute(connection, changed)

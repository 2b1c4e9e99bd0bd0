"""One lane transaction: address, lock, load, fold, save, commit; only then are callers answered."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from chassis.database import Connection
from kernel import ids
from kernel.refusals import MemberNotFound, Refusal
from services.ledger.domain import settle
from services.ledger.domain.account import Account, AccountKind, Posting, State
from services.ledger.domain.commands import Command, Operation
from services.ledger.domain.decide import check_preconditions, decide
from services.ledger.domain.fold import Fold
from services.ledger.domain.moves import share_now
from services.ledger.domain.refusals import RequestIdReused
from services.ledger.operations.addressing import Addressing
from services.ledger.operations.claims import Claims, Outrun
from services.ledger.operations.environment import Environment
from services.ledger.operations.landings import Landings
from services.ledger.operations.needs import Draws, counter_ranges, load_rare
from services.ledger.operations.outcomes import (
    Applied,
    Item,
    Outcome,
    Recorded,
    Refused,
    Settled,
    view_of,
)
from services.ledger.operations.plans import Parties, Plan
from services.ledger.store import accounts as account_rows
from services.ledger.store import links, rare, save
from services.ledger.store.accounts import CounterRange, Key, Loaded, Request, SeenRequest


class RevisionMoved(Exception):
    """The configuration changed between reading it and a program's first posting: decide again."""


class Transaction:
    """Folds items over their accounts. With `dry` nothing is locked or written."""

    def __init__(
        self,
        environment: Environment,
        connection: Connection,
        items: Sequence[Item],
        *,
        dry: bool = False,
    ) -> None:
        self._environment = environment
        self._connection = connection
        self._items = items
        self._dry = dry
        self._now = environment.clock()
        self._addressing = Addressing(environment, connection, self._now, dry=dry)
        self._keys = self._addressing.keys
        self._loaded: dict[Key, Loaded] = {}
        self._folds: dict[Key, Fold] = {}
        self._landings = Landings(self._folds)
        self._seen: dict[Request, SeenRequest | Posting] = {}
        self._postings: list[tuple[Account, Posting]] = []
        self._heads: dict[int, int] = {}
        self._plans: list[Plan] = []
        self._claims = Claims()
        # Accounts to be settled, with all that it takes loaded.
        self._due: set[Key] = set()
        # Refusals that name a posting of this transaction, which has no id before it is saved.
        self._reused: list[tuple[int, Command, Posting]] = []

    async def run(self) -> list[Outcome]:
        """Do everything but commit; one outcome an item. Callers are answered after the commit."""
        await self._addressing.address(self._items)
        await self._load()
        outcomes = [self._fold(place, item) for place, item in enumerate(self._items)]
        if not self._dry:
            await self._save()
        for place, command, posting in self._reused:
            outcomes[place] = Refused(RequestIdReused(command.request_id, str(posting.id() or "")))
        return outcomes

    def remember(self) -> None:
        """Know the accounts met from now on; called after the commit."""
        for name, key in self._keys.items():
            loaded = self._loaded.get(key)
            if loaded is not None and loaded.account.enrolled:
                self._environment.addresses.remember(name, key)
        for plan in self._plans:
            plan.remember(self._environment.addresses)

    async def _load(self) -> None:
        connection, addresses = self._connection, self._environment.addresses
        wanted = set(self._keys.values())
        for item in self._items:
            wanted.update(key for key in (item.key, item.of, *item.also) if key is not None)
        for item in self._items:
            if item.plan is not None:
                wanted.update(await item.plan.prepare(connection, self._addressing) or ())
        wanted.difference_update(self._addressing.imagined)
        if addresses.linked:
            wanted.update([to for key in wanted for to in addresses.chain(key)])
        self._loaded.update(self._addressing.imagined)
        if wanted:
            load = account_rows.read if self._dry else account_rows.lock
            self._loaded.update(await load(connection, sorted(wanted)))
        if not self._loaded:
            return
        self._check_erased()
        await self._verify_links()
        for name, key in self._keys.items():
            if key in self._loaded:
                self._loaded[key].account.member = addresses.member(name)
        for item in self._items:
            if item.name is None and item.command is not None and item.key in self._loaded:
                self._loaded[item.key].account.member = item.whose or item.command.member
        for key, loaded in self._loaded.items():
            policy = await self._environment.policy(loaded.program, loaded.revision)
            now = loaded.clock or self._now
            self._folds[key] = Fold(loaded.account, policy, now, self._environment.random62)
        if any(item.plan is not None for item in self._items):
            self._share_now()
        await self._load_what_commands_need()
        await self._claims.load(connection, ((item.name, item.command) for item in self._items))

    def _share_now(self) -> None:
        """Have accounts that may change together know the same instant before they are settled."""
        clocks: dict[datetime | None, list[Fold]] = {}
        for key, fold in self._folds.items():
            clocks.setdefault(self._loaded[key].clock, []).append(fold)
        for folds in clocks.values():
            share_now(folds)

    async def _verify_links(self) -> None:
        """Have every account to which one that is loaded is linked, or raise Outrun."""
        addresses = self._environment.addresses
        while True:
            links = {
                key: to
                for key, loaded in self._loaded.items()
                if loaded.account.link is not None and (to := loaded.account.lands_in())
            }
            missing = {to for to in links.values() if to not in self._loaded}
            for key in self._loaded if links or addresses.linked else ():
                addresses.link(key, links.get(key))
            if not missing:
                break
            if not self._dry:
                raise Outrun
            self._loaded.update(await account_rows.read(self._connection, sorted(missing)))
        await self._landings.load(self._connection, self._loaded)

    def _check_erased(self) -> None:
        """What is remembered of an erased person leads to nobody: ask the directory again."""
        gone = [
            name
            for name, key in self._keys.items()
            if key in self._loaded and self._loaded[key].account.state is State.ERASED
        ]
        for name in gone:
            self._environment.addresses.forget(name)
        if gone:
            raise Outrun

    async def _load_what_commands_need(self) -> None:
        requests: list[Request] = []
        ranges: set[CounterRange] = set()
        rare_ones: list[tuple[Key, Operation]] = []
        due = {key for key, fold in self._folds.items() if settle.is_due(fold)}
        due.update(item.key for item in self._items if item.again and item.key in self._folds)
        self._due = set(due)
        draws = Draws(due)
        for item in self._items:
            own = self._own(item)
            if item.command is None or own is None or own not in self._folds:
                continue
            key = self._landings.landing(own, stay=item.stay)
            requests.append((*(item.of or own), item.command.request_id))
            draws.note(key, item.command)
            if item.command.rare():
                rare_ones.append((key, item.command.operations[0]))
            ranges.update(counter_ranges(self._folds[key], item.command))
        connection = self._connection
        self._seen.update(
            await account_rows.load_working(
                connection, self._loaded, ranges, requests, self._early_heads()
            )
        )
        elsewhere = [each for each in requests if self._folds[each[:2]].account.elsewhere]
        if elsewhere:
            self._seen.update(await links.recorded(connection, elsewhere))
        whole = await load_rare(connection, self._folds, self._loaded, due, rare_ones)
        await draws.load(connection, self._loaded, whole)
        for item in self._items:
            if item.plan is not None:
                await item.plan.load(connection, self._parties())

    def _early_heads(self) -> dict[int, int] | None:
        """Where to put the heads of streams, if they can be locked already: it saves a round trip.

        Whoever holds a head may wait for nothing but heads. A program's first posting marks the
        program, and plans may lock what they like; theirs are locked when all of that is done.
        """
        plans = any(item.plan is not None for item in self._items)
        if self._dry or plans or not all(each.posted for each in self._loaded.values()):
            return None
        return self._heads

    def _own(self, item: Item) -> Key | None:
        """The account that an item is addressed to, before links are followed."""
        return item.key if item.name is None else self._keys.get(item.name)

    def _parties(self) -> Parties:
        return Parties(
            self._addressing, self._folds, self._loaded, self._landings.land, self._settle
        )

    def _fold(self, place: int, item: Item) -> Outcome:
        command = item.command
        if command is None:
            assert item.key is not None
            fold = self._folds.get(item.key)
            return Settled(0 if fold is None else self._settle(fold))
        own = self._own(item)
        if own is None or own not in self._folds:
            return Refused(MemberNotFound(command.member))
        party = self._landings.land(own, item.name, stay=item.stay)
        if item.of is not None:
            party = self._landings.through(party, item.of, command.member)
            own = item.of
        fold = party.fold
        if not fold.account.enrolled and not self._opens(fold, command):
            return Refused(MemberNotFound(command.member))
        request = (*own, command.request_id)
        seen = self._seen.get(request)
        if seen is not None:
            return self._replay(place, item, own, fold, seen)
        try:
            if item.name is not None:
                self._claims.check(item.name, command)
            check_preconditions(fold, command)
            if item.plan is None:
                self._settle(fold)
                postings = [(fold, decide(fold, command, party.addressed))]
            else:
                postings = item.plan.decide(command, party, self._parties())
                self._plans.append(item.plan)
        except Refusal as refusal:
            # Its traceback leads to the whole transaction, which only the collector would end.
            return Refused(refusal.with_traceback(None))
        if item.name is not None:
            # A group has no billing day: that of who belongs to it is its own account's.
            shared = fold.account.kind is not AccountKind.PERSON
            account = self._folds[own].account if shared else fold.account
            self._claims.take(item.name, account, command)
        return self._applied(item, request, postings)

    def _applied(
        self, item: Item, request: Request, postings: list[tuple[Fold, Posting]]
    ) -> Outcome:
        (fold, posting), *sides = postings
        self._seen[request] = posting
        for each, its in postings:
            self._postings.append((each.account, its))
            self._landings.note(request, each, its)
        viewed = item.plan.viewed(self._parties()) if item.plan is not None else None
        shown = fold if viewed is None else viewed
        view = view_of(shown.account, shown.now, shown.policy.revision) if item.view else None
        if view is not None and view.group_key in self._folds:
            view = replace(view, group=self._folds[view.group_key].account.member)
        return Applied(
            posting,
            view,
            fold.account.program,
            sides=tuple((its, each.account.program) for each, its in sides),
        )

    def _opens(self, fold: Fold, command: Command) -> bool:
        return command.enrols() or (command.may_enrol() and fold.policy.config.auto_enrol)

    def _replay(
        self, place: int, item: Item, own: Key, fold: Fold, seen: SeenRequest | Posting
    ) -> Outcome:
        command = item.command
        assert command is not None
        same = seen.digest == command.digest
        key = fold.account.key
        if isinstance(seen, SeenRequest):
            bucket = own[0] if seen.bucket is None else seen.bucket
            if same:
                place_of = (bucket, seen.sequence)
                return Recorded(key, fold.account.member, place_of, replayed=not item.ambiguous)
            posting = str(ids.uuid7(seen.record_time, bucket, seen.sequence))
            return Refused(RequestIdReused(command.request_id, posting))
        if not same:
            self._reused.append((place, command, seen))
        view = view_of(fold.account, fold.now, seen.revision) if item.view else None
        return Applied(seen, view, self._loaded[key].program, replayed=True)

    def _settle(self, fold: Fold) -> int:
        # Once: what a command of this transaction makes due is left to the next one, which loads
        # what settling it takes.
        key = fold.account.key
        if key not in self._due:
            return 0
        self._due.discard(key)
        postings = settle.settle(fold)
        self._postings.extend((fold.account, posting) for posting in postings)
        return len(postings)

    async def _save(self) -> None:
        connection = self._connection
        await self._forget_unused()
        for plan in self._plans:
            await plan.save(connection)
        touched = [fold.account for fold in self._folds.values() if fold.account.touched]
        if not touched:
            return
        heads: dict[int, int] = {}
        if self._postings:
            await self._mark_posted()
            buckets = {account.bucket for account, _ in self._postings}
            locked = self._heads or await save.lock_heads(connection, buckets)
            heads = {bucket: locked[bucket] for bucket in buckets}
            for account, posting in self._postings:
                heads[account.bucket] += 1
                posting.sequence = heads[account.bucket]
                for entry in posting.entries:
                    if entry.lot is not None and entry.expiry_kind is not None:
                        account.lots[entry.lot].posting = posting.sequence
            for account, posting in self._postings:
                if posting.peer is not None:
                    account.rare = True
                    posting.peer_place = (posting.peer.bucket, posting.peer.sequence)
        await save.save(connection, heads, touched, self._postings)
        rare_ones = [account for account in touched if account.rare]
        if rare_ones:
            await rare.save(connection, rare_ones, self._postings)
        await self._claims.save(connection)
        await self._landings.save(connection)

    async def _mark_posted(self) -> None:
        first = {
            account.program: self._loaded[account.key].revision
            for account, _ in self._postings
            if not self._loaded[account.key].posted
        }
        if not first:
            return
        marked = await save.mark_posted(self._connection, sorted(first))
        # Another transaction may have marked it first, in a revision that this one never saw.
        if any(marked.get(program) != revision for program, revision in first.items()):
            raise RevisionMoved

    async def _forget_unused(self) -> None:
        enrolled = [key for key, fold in self._folds.items() if fold.account.enrolled]
        for key in await self._addressing.forget_unused(enrolled):
            if key in self._folds:
                self._folds[key].account.touched = False

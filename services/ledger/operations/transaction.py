"""One lane transaction: address, lock, load, fold, save, commit; only then are callers answered."""

from collections.abc import Sequence

from kernel import calendar, ids
from kernel.refusals import MemberNotFound, Refusal
from services.ledger.domain import counters, settle
from services.ledger.domain.account import Account, Posting, State
from services.ledger.domain.commands import Command, Count, Earn
from services.ledger.domain.decide import check_preconditions, decide
from services.ledger.domain.digest import first_digest
from services.ledger.domain.fold import Fold
from services.ledger.domain.policy import Policy
from services.ledger.domain.refusals import RequestIdReused
from services.ledger.operations.claims import Claims, Outrun
from services.ledger.operations.environment import Environment
from services.ledger.operations.outcomes import (
    Applied,
    Item,
    Outcome,
    Recorded,
    Refused,
    Settled,
    view_of,
)
from services.ledger.store import accounts as account_rows
from services.ledger.store import directory, save
from services.ledger.store.accounts import CounterRange, Key, Loaded, SeenRequest
from services.ledger.store.directory import Created, Name, NewAccount
from services.ledger.store.programs import Connection

_NOTHING_CREATED = Created(frozenset(), frozenset())


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
        self._keys: dict[Name, Key] = {}
        self._created = _NOTHING_CREATED
        self._loaded: dict[Key, Loaded] = {}
        self._policies: dict[Key, Policy] = {}
        self._folds: dict[Key, Fold] = {}
        self._seen: dict[tuple[int, int, str], SeenRequest | Posting] = {}
        self._postings: list[tuple[Account, Posting]] = []
        self._claims = Claims()
        # Refusals that name a posting of this transaction, which has no id before it is saved.
        self._reused: list[tuple[int, Command, Posting]] = []

    async def run(self) -> list[Outcome]:
        """Do everything but commit; one outcome an item. Callers are answered after the commit."""
        await self._address()
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

    async def _address(self) -> None:
        unknown: dict[Name, Command] = {}
        for item in self._items:
            if item.name is None or item.command is None:
                continue
            key = self._environment.addresses.get(item.name)
            if key is not None:
                self._keys[item.name] = key
            elif item.name not in unknown or not unknown[item.name].enrols():
                known = unknown.get(item.name)
                if known is None or item.command.enrols() or item.command.may_enrol():
                    unknown[item.name] = item.command
        if not unknown:
            return
        self._keys.update(await directory.find(self._connection, list(unknown)))
        wanted = [
            await self._new_account(name, command)
            for name, command in unknown.items()
            if name not in self._keys and await self._enrols(command)
        ]
        if not wanted:
            return
        if self._dry:
            for new in wanted:
                await self._imagine(new, unknown[new.name])
            return
        self._created = await directory.create(self._connection, wanted)
        self._keys.update(await directory.find(self._connection, [new.name for new in wanted]))

    async def _enrols(self, command: Command) -> bool:
        if command.enrols():
            return True
        if not command.may_enrol():
            return False
        program = await self._environment.cache.get(command.organization, command.program)
        return program.config.auto_enrol

    async def _new_account(self, name: Name, command: Command) -> NewAccount:
        environment = self._environment
        identity = await environment.cache.identity(command.organization, command.program)
        account = ids.surrogate(self._now, environment.random_bits(21))
        return NewAccount(
            name=name,
            person=ids.surrogate(self._now, environment.random_bits(21)),
            account=account,
            sandbox=identity.sandbox,
            # A person enrolled in another program has the same bucket: it is made of the name.
            digest=first_digest(name.name_bucket, account),
            enrol_time=calendar.EARLIEST,
        )

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
            digest=new.digest,
            enrolled=False,
        )
        self._keys[new.name] = key
        self._loaded[key] = Loaded(
            account, program.key, program.revision, program.clock, posted=program.posted
        )

    async def _load(self) -> None:
        connection = self._connection
        wanted = {key for key in self._keys.values() if key not in self._loaded}
        wanted.update(item.key for item in self._items if item.key is not None)
        if wanted:
            load = account_rows.read if self._dry else account_rows.lock
            self._loaded.update(await load(connection, sorted(wanted)))
        if not self._loaded:
            return
        self._check_erased()
        for name, key in self._keys.items():
            if key in self._loaded:
                self._loaded[key].account.member = name.member
        for key, loaded in self._loaded.items():
            policy = await self._environment.policy(loaded.program, loaded.revision)
            self._policies[key] = policy
            now = loaded.clock or self._now
            self._folds[key] = Fold(loaded.account, policy, now, self._random62)
        await self._load_what_commands_need()
        await self._claims.load(connection, ((item.name, item.command) for item in self._items))

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
        requests: list[tuple[int, int, str]] = []
        ranges: set[CounterRange] = set()
        lots = {key for key, fold in self._folds.items() if settle.is_due(fold)}
        for item in self._items:
            key = self._keys.get(item.name) if item.name is not None else None
            if item.command is None or key is None or key not in self._folds:
                continue
            requests.append((*key, item.command.request_id))
            if item.command.needs_lots():
                lots.add(key)
            ranges.update(_counter_ranges(self._folds[key], item.command))
        connection = self._connection
        self._seen.update(
            await account_rows.load_working(connection, self._loaded, ranges, requests)
        )
        if lots:
            await account_rows.load_open_lots(connection, self._loaded, sorted(lots))

    def _fold(self, place: int, item: Item) -> Outcome:
        command = item.command
        if command is None:
            assert item.key is not None
            fold = self._folds.get(item.key)
            return Settled(0 if fold is None else self._settle(fold))
        assert item.name is not None
        key = self._keys.get(item.name)
        if key is None or key not in self._folds:
            return Refused(MemberNotFound(command.member))
        fold = self._folds[key]
        if not fold.account.enrolled and not self._opens(fold, command):
            return Refused(MemberNotFound(command.member))
        request = (*key, command.request_id)
        seen = self._seen.get(request)
        if seen is not None:
            return self._replay(place, item, key, seen)
        try:
            self._claims.check(item.name, command)
            check_preconditions(fold, command)
            self._settle(fold)
            posting = decide(fold, command)
        except Refusal as refusal:
            return Refused(refusal)
        self._claims.take(item.name, fold.account, command)
        self._seen[request] = posting
        self._postings.append((fold.account, posting))
        view = view_of(fold.account, fold.now, posting.revision) if item.view else None
        return Applied(posting, view, self._loaded[key].program)

    def _opens(self, fold: Fold, command: Command) -> bool:
        return command.enrols() or (command.may_enrol() and fold.policy.config.auto_enrol)

    def _replay(self, place: int, item: Item, key: Key, seen: SeenRequest | Posting) -> Outcome:
        command = item.command
        assert command is not None
        same = seen.digest == command.digest
        if isinstance(seen, SeenRequest):
            if same:
                return Recorded(key, seen.sequence, replayed=not item.ambiguous)
            posting = str(ids.uuid7(seen.record_time, key[0], seen.sequence))
            return Refused(RequestIdReused(command.request_id, posting))
        if not same:
            self._reused.append((place, command, seen))
        fold = self._folds[key]
        view = view_of(fold.account, fold.now, seen.revision) if item.view else None
        return Applied(seen, view, self._loaded[key].program, replayed=True)

    def _settle(self, fold: Fold) -> int:
        if not settle.is_due(fold):
            return 0
        postings = settle.settle(fold)
        self._postings.extend((fold.account, posting) for posting in postings)
        return len(postings)

    async def _save(self) -> None:
        connection = self._connection
        await self._forget_unused()
        touched = [fold.account for fold in self._folds.values() if fold.account.touched]
        if not touched:
            return
        heads: dict[int, int] = {}
        if self._postings:
            await self._mark_posted()
            heads = await save.lock_heads(
                connection, {account.bucket for account, _ in self._postings}
            )
            for account, posting in self._postings:
                heads[account.bucket] += 1
                posting.sequence = heads[account.bucket]
                for entry in posting.entries:
                    if entry.lot is not None and entry.expiry_kind is not None:
                        account.lots[entry.lot].posting = posting.sequence
        await save.save(connection, heads, touched, self._postings)
        await self._claims.save(connection)

    async def _mark_posted(self) -> None:
        first = {
            account.program: self._loaded[account.bucket, account.id].revision
            for account, _ in self._postings
            if not self._loaded[account.bucket, account.id].posted
        }
        if not first:
            return
        marked = await save.mark_posted(self._connection, sorted(first))
        # Another transaction may have marked it first, in a revision that this one never saw.
        if any(marked.get(program) != revision for program, revision in first.items()):
            raise RevisionMoved

    async def _forget_unused(self) -> None:
        if not self._created.accounts:
            return
        unused = [
            key
            for key in self._created.accounts
            if key in self._folds and not self._folds[key].account.enrolled
        ]
        if not unused:
            return
        names = {key: name for name, key in self._keys.items()}
        people = [
            person
            for key in unused
            if (person := (names[key].name_bucket, names[key].organization, names[key].member))
            in self._created.people
        ]
        await directory.forget(self._connection, unused, people)
        for key in unused:
            self._folds[key].account.touched = False

    def _random62(self) -> int:
        return self._environment.random_bits(62)


def _counter_ranges(fold: Fold, command: Command) -> set[CounterRange]:
    key = (fold.account.bucket, fold.account.id)
    policy = fold.policy
    month = calendar.month_index(
        calendar.local_day(command.effective_time or fold.now, policy.zone)
    )
    ranges: set[CounterRange] = set()
    for operation in command.operations:
        if isinstance(operation, Earn) and operation.currency in policy.currency_numbers:
            number = -1 - policy.currency_numbers[operation.currency]
            ranges.add((*key, number, month, month))
        elif isinstance(operation, Count) and operation.counter in policy.counter_numbers:
            ranges.add((*key, policy.counter_numbers[operation.counter], month, month))
    for expectation in command.expect:
        counter = policy.counter_numbers.get(expectation.name)
        if counter is not None:
            first, last = counters.bounds(expectation.window, fold.now, policy.zone)
            ranges.add((*key, counter, *counters.months_of(first, last)))
    return ranges

"""Verifying all accounts of a program, a shard of its buckets at a time."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.domain.verify import FINDINGS_MAX, Finding
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.verify_account import verify_keys
from services.ledger.store import links, shards
from services.ledger.store.accounts import Key
from services.ledger.store.checkpoints import be_patient

ACCOUNTS_MAX = 200
ENTRIES_MAX = 5_000
BEGINNING: Key = (0, 0)


@dataclass(frozen=True, slots=True)
class Shard:
    """Every `shards`-th bucket, from bucket `shard` on."""

    shards: int = 1
    shard: int = 0

    def buckets(self, count: int) -> range:
        """Its buckets of so many."""
        return range(self.shard, count, self.shards) if self.shard < self.shards else range(0)


@dataclass(frozen=True, slots=True)
class Part:
    """What was verified up to and with the account `position`. The first part has the `total`."""

    position: Key
    total: int = 0
    accounts: int = 0
    entries: int = 0
    disagreeing: Mapping[Key, Sequence[Finding]] = field(default_factory=dict)
    members: Mapping[Key, str] = field(default_factory=dict)


async def verify_program(
    context: LedgerContext, organization: str, program: str, shard: Shard, after: Key
) -> AsyncGenerator[Part, None]:
    """Recompute every account of a shard after a position. Refusals: PROGRAM_NOT_FOUND."""
    state = await context.environment.cache.get(organization, program)
    policy = await context.environment.policy(state.key, state.revision)
    buckets = shard.buckets(context.environment.buckets)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        total = await shards.count_accounts(connection, state.key, buckets, after)
    yield Part(after, total=total)
    for bucket in buckets:
        if bucket < after[0]:
            continue
        position = max(after, (bucket, 0))
        while True:
            async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                page = await shards.page_of_accounts(
                    connection, state.key, bucket, position[1], ACCOUNTS_MAX
                )
            if not page:
                break
            keys = _few_entries(page)
            verified = await verify_keys(context, keys, policy.zone)
            position = keys[-1]
            yield await _part(
                context,
                position,
                accounts=len(keys),
                entries=sum(each.entries for each in verified.values()),
                found={key: each.findings for key, each in verified.items() if each.findings},
            )
        yield await _part(context, position, found=await _lost(context, state.key, bucket))


def _few_entries(page: Sequence[shards.Sized]) -> list[Key]:
    """As many of the first accounts as one snapshot should be held for; at least one."""
    keys: list[Key] = []
    entries = 0
    for each in page:
        entries += each.entries
        if keys and entries > ENTRIES_MAX:
            break
        keys.append(each.key)
    return keys


async def _lost(
    context: LedgerContext, program: int, bucket: int
) -> Mapping[Key, Sequence[Finding]]:
    async with (
        context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(readonly=True),
    ):
        await be_patient(connection)
        lost = await shards.lost_accounts(connection, program, bucket, FINDINGS_MAX)
    return {
        key: [Finding("account", "row", f"an account of posting {posting}", "none")]
        for key, posting in lost
    }


async def _part(
    context: LedgerContext,
    position: Key,
    *,
    found: Mapping[Key, Sequence[Finding]],
    accounts: int = 0,
    entries: int = 0,
) -> Part:
    members: Mapping[Key, str] = {}
    if found:
        async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            members = await links.members_of(connection, list(found))
    return Part(position, accounts=accounts, entries=entries, disagreeing=found, members=members)

"""Verifying accounts: their entries are read from the first to the last, in one snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.domain.verify import Finding, Verifier
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.read_account import account_key
from services.ledger.store import accounts as account_rows
from services.ledger.store import history
from services.ledger.store.accounts import Key


@dataclass(frozen=True, slots=True)
class Verified:
    """What disagrees, and how many entries were read."""

    findings: list[Finding]
    entries: int


async def verify_account(
    context: LedgerContext, organization: str, program: str, member: str
) -> Verified:
    """Recompute an account from its entries. Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    key, policy = await account_key(context, organization, program, member)
    return (await verify_keys(context, [key], policy.zone))[key]


async def verify_keys(
    context: LedgerContext, keys: Sequence[Key], zone: ZoneInfo
) -> dict[Key, Verified]:
    """Recompute accounts of one program from their entries; those that are not there are left out.

    An account with a long history is read a part at a time; hand in few that have one.
    """
    async with (
        context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        loaded = await account_rows.read_whole(connection, keys)
        verifiers = {key: Verifier(*key, zone) for key in loaded}
        async for key, entry, posting in history.entries_of_accounts(connection, list(loaded)):
            verifiers[key].read(entry, posting)
        lots = await history.all_lots(connection, list(loaded))
        counters = await history.all_counters(connection, list(loaded))
    return {
        key: Verified(
            verifier.finish(loaded[key].account, lots.get(key, ()), counters.get(key, {})),
            verifier.entries,
        )
        for key, verifier in verifiers.items()
    }

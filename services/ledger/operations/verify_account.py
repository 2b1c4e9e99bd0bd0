"""Verifying one account: its entries are read from the first to the last, in one snapshot."""

from dataclasses import dataclass

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.domain.verify import Finding, Verifier
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.read_account import account_key
from services.ledger.store import accounts as account_rows
from services.ledger.store import history

CHUNK = 2_000


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
    verifier = Verifier(*key, policy.zone)
    async with (
        context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        loaded = await account_rows.read_whole(connection, [key])
        after = 0
        while chunk := await history.entries_onward(connection, key, after, CHUNK):
            for entry, posting in chunk:
                verifier.read(entry, posting)
            after = chunk[-1][0].sequence
        lots = await history.all_lots(connection, key)
        counters = await history.all_counters(connection, key)
    findings = verifier.finish(loaded[key].account, lots, counters)
    return Verified(findings, verifier.entries)

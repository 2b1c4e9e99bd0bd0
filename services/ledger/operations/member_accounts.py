"""A member's accounts in all programs of an organization."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.read_account import AccountRead, read_accounts
from services.ledger.store import links

NO_PROGRAM = 0


@dataclass(frozen=True, slots=True)
class MemberAccounts:
    """Accounts with their program's id, by that id, and whether more follow."""

    accounts: Sequence[tuple[str, AccountRead]]
    last: str
    more: bool


async def page_of_member_accounts(
    context: LedgerContext, organization: str, member: str, after: str, size: int
) -> MemberAccounts:
    """What a member has in the programs whose id comes after one, in the order of ids."""
    name = context.environment.name(organization, member, NO_PROGRAM)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        found = await links.programs_of(connection, name)
    programs = sorted(program for program in found.values() if program > after)
    page = programs[:size]
    accounts = []
    for program in page:
        read = (await read_accounts(context, organization, program, [member])).get(member)
        # An account that a refused command made is gone again, or has no entry.
        if read is not None:
            accounts.append((program, read))
    return MemberAccounts(accounts, page[-1] if page else after, len(programs) > size)

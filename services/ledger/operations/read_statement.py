"""Reading a member's statement: every change between two record times, and both balances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import MemberNotFound
from services.ledger.domain.account import AccountKind
from services.ledger.domain.policy import Policy
from services.ledger.domain.refusals import GroupNotFound
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.read_account import addresses, read_accounts
from services.ledger.operations.read_history import Member
from services.ledger.store import statements
from services.ledger.store.history import StoredEntry
from services.ledger.store.statements import Four, Lines

_NOTHING: Four = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class StatementQuery:
    """What is asked for: from `start` on, before `end`; None is the beginning, and now."""

    currency: str
    start: datetime | None
    end: datetime | None
    attributed_member: str


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Entries, oldest first, whether more follow, and balances by currency: opening and closing.

    `policies` are the configurations in force by revision, of all postings on the page.
    """

    entries: Sequence[StoredEntry]
    more: bool
    balances: Mapping[int, tuple[Four, Four]]
    policy: Policy
    policies: Mapping[int, Policy]


async def page_of_statement(
    context: LedgerContext, member: Member, query: StatementQuery, after: int, size: int
) -> StatementPage:
    """A page of a statement after a sequence.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, CURRENCY_NOT_FOUND, GROUP_NOT_FOUND.
    """
    reads = await read_accounts(context, member.organization, member.program, [member.member])
    if member.member not in reads:
        raise MemberNotFound(member.member)
    view, policy = reads[member.member].view, reads[member.member].policy
    number = policy.currency(query.currency).number if query.currency else None
    addressee = None
    if query.attributed_member:
        if view.kind is AccountKind.PERSON:
            raise GroupNotFound(member.member)
        name = await context.name(member.organization, member.program, query.attributed_member)
        addressee = (await addresses(context, [name])).get(name)
        if addressee is None:
            raise MemberNotFound(query.attributed_member)
    currencies = range(len(policy.currencies)) if number is None else [number]
    key = view.key
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        first, last = 0, view.sequence
        if query.start is not None:
            first = await statements.entries_before(connection, key, query.start, last)
        if query.end is not None:
            last = await statements.entries_before(connection, key, query.end, last)
        found = await statements.lines(
            connection, key, max(after, first), last, Lines(number, addressee), size + 1
        )
        opening = await statements.balances_after(connection, key, first, currencies)
        closing = await statements.balances_after(connection, key, last, currencies)
    revisions = {each.posting.revision for each in found}
    return StatementPage(
        entries=found[:size],
        more=len(found) > size,
        balances={
            each: (opening.get(each, _NOTHING), closing.get(each, _NOTHING))
            for each in currencies
            if each in closing or each == number
        },
        policy=policy,
        policies={
            revision: await context.environment.policy(view.program, revision)
            for revision in sorted(revisions)
        },
    )

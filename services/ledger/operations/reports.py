"""Reports over a whole program: what is owed, what was redeemed, whether the sums agree."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from chassis.refusals import DeadlinePassed
from kernel import calendar
from services.ledger.domain.account import Balance
from services.ledger.domain.liability import Breakage, Vintage, breakage
from services.ledger.domain.policy import Policy
from services.ledger.domain.refusals import PointsOverflow
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store import liability, reports
from services.ledger.store.accounts import Key
from services.ledger.store.liability import LotsRow
from services.ledger.store.programs import ProgramState
from services.ledger.store.reports import Books, Position, RedemptionRow

ACCOUNTS_MAX = 20
# Every page of redemptions looks at so many stretches of accounts at most.
STRETCHES_MAX = 20
SETTLED_AT_ONCE = 500
_INT64_MAX = 2**63 - 1
_LOTS = ("available", "pending", "held")
_EVER = (datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class CurrencyLiability:
    """What is owed in one currency."""

    currency: int
    parts: Sequence[LotsRow]
    debt: int
    accounts: int
    breakage: Breakage | None


@dataclass(frozen=True, slots=True)
class Liability:
    """What a program owes, as of an instant and by the configuration in force."""

    read_time: datetime
    policy: Policy
    currencies: Sequence[CurrencyLiability]


async def read_liability(
    context: LedgerContext,
    organization: str,
    program: str,
    currency: str,
    *,
    estimated: bool,
    seconds: float,
) -> Liability:
    """Points outstanding by month of earning and of expiry, with the estimate where asked for.

    Refusals: PROGRAM_NOT_FOUND, CURRENCY_NOT_FOUND, POINTS_OVERFLOW.
    """
    state, policy = await _program(context, organization, program)
    number = policy.currency(currency).number if currency else None
    now = state.now(context.environment.clock())
    zone = state.config.time_zone
    await _settle_entangled(context, state.key, now)
    async with _snapshot(context, seconds) as connection:
        rows = await liability.lots(connection, state.key, zone, now, history=estimated)
        debts = await liability.debts(connection, state.key)
    this_month = calendar.month_start(calendar.local_day(now, policy.zone))
    found = []
    for each in range(len(policy.currencies)) if number is None else [number]:
        own = [row for row in rows if row.currency == each]
        parts = [row for row in own if row.available or row.pending or row.held]
        debt, accounts = debts.get(each, (0, 0))
        _check_sums(parts, debt)
        estimate = None
        if estimated:
            outstanding = sum(
                row.available + row.pending + row.held for row in parts if row.expires is not None
            )
            estimate = breakage(_vintages(own), this_month, outstanding)
        found.append(CurrencyLiability(each, parts, debt, accounts, estimate))
    return Liability(now, policy, found)


async def _settle_entangled(context: LedgerContext, program: int, now: datetime) -> None:
    """Post what fell due where it cannot be told from the lots."""
    settled: set[Key] = set()
    while True:
        async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            keys = await liability.entangled(connection, program, now, SETTLED_AT_ONCE)
        if settled.issuperset(keys):
            return
        await context.lanes.settle(keys)
        settled.update(keys)


def _vintages(rows: Sequence[LotsRow]) -> list[Vintage]:
    months: dict[date, list[LotsRow]] = {}
    for row in rows:
        if row.points:
            months.setdefault(row.earned, []).append(row)
    return [
        Vintage(
            month,
            sum(row.points for row in some),
            sum(row.expired for row in some),
            any(row.left for row in some),
        )
        for month, some in months.items()
    ]


def _check_sums(parts: Sequence[LotsRow], debt: int) -> None:
    total = sum(row.available + row.pending + row.held for row in parts)
    if max(total, debt) > _INT64_MAX:
        raise PointsOverflow


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not agree; about a currency by its number, or None."""

    member: str
    row: str
    currency: int | None
    field: str
    expected: int
    stored: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The sums of a program, and where they differ."""

    read_time: datetime
    policy: Policy
    currencies: Sequence[Books]
    differences: Sequence[Difference]
    accounts: int
    postings: int
    entries: int


async def reconcile(
    context: LedgerContext, organization: str, program: str, seconds: float
) -> Reconciled:
    """Add up balances, lots, entries and totals, each by itself.

    Refusals: PROGRAM_NOT_FOUND, POINTS_OVERFLOW.
    """
    state, policy = await _program(context, organization, program)
    async with _snapshot(context, seconds) as connection:
        books = await reports.control_totals(connection, state.key)
        wrong: list[Books] = []
        if any(each.count for each in books):
            wrong = await reports.differing(connection, state.key, ACCOUNTS_MAX)
        counts = await reports.counts(connection, state.key)
        gaps = await reports.gaps(connection)
    differences = [difference for each in wrong for difference in _differences(each)]
    for field, stored in (
        ("account.sequence", counts.account_entries),
        ("posting.entry_count", counts.posting_entries),
    ):
        if stored != counts.entries:
            differences.append(Difference("", "entries", None, field, counts.entries, stored))
    differences.extend(
        Difference("", f"stream {bucket}", None, "head", changes, head)
        for bucket, head, changes in gaps
    )
    for each in books:
        numbers = (*_numbers(each.balance), *_numbers(each.entry), *each.lot)
        if max(abs(number) for number in numbers) > _INT64_MAX:
            raise PointsOverflow
    return Reconciled(
        read_time=state.now(context.environment.clock()),
        policy=policy,
        currencies=books,
        differences=differences,
        accounts=counts.accounts,
        postings=counts.postings,
        entries=counts.entries,
    )


def _differences(books: Books) -> list[Difference]:
    """What differs in one account: the entries are right, because they cannot be changed."""
    found = []
    for each in fields(Balance):
        expected, stored = getattr(books.entry, each.name), getattr(books.balance, each.name)
        if expected != stored:
            found.append((f"balances.{each.name}", expected, stored))
    for name, stored in zip(_LOTS, books.lot, strict=True):
        expected = getattr(books.entry, name)
        if expected != stored:
            found.append((f"lots.{name}", expected, stored))
    return [
        Difference(books.member, "balance", books.currency, name, expected, stored)
        for name, expected, stored in found
    ]


def _numbers(balance: Balance) -> list[int]:
    return [getattr(balance, each.name) for each in fields(Balance)]


@dataclass(frozen=True, slots=True)
class RedemptionQuery:
    """What is asked for: from `start` on, before `end`; None is the beginning, and now."""

    currency: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class RedemptionPage:
    """Redemptions, and where to go on; None at the end. `policies` are by revision."""

    rows: Sequence[RedemptionRow]
    position: Position | None
    policies: Mapping[int, Policy]


async def page_of_redemptions(
    context: LedgerContext,
    organization: str,
    program: str,
    query: RedemptionQuery,
    after: Position,
    size: int,
) -> RedemptionPage:
    """A page of redemptions after an account's entry.

    Refusals: PROGRAM_NOT_FOUND, CURRENCY_NOT_FOUND.
    """
    state, policy = await _program(context, organization, program)
    number = policy.currency(query.currency).number if query.currency else None
    between = (query.start or _EVER[0], query.end or _EVER[1])
    rows: list[RedemptionRow] = []
    position: Position | None = after
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        for _ in range(STRETCHES_MAX):
            assert position is not None
            found, position = await reports.redemptions(
                connection, state.key, position, between, number, size - len(rows)
            )
            rows.extend(found)
            if position is None or len(rows) == size:
                break
    return RedemptionPage(
        rows,
        position,
        {
            revision: await context.environment.policy(state.key, revision)
            for revision in sorted({row.revision for row in rows})
        },
    )


@asynccontextmanager
async def _snapshot(context: LedgerContext, seconds: float) -> AsyncIterator[Connection]:
    """One snapshot to read in, when it is this report's turn; all within so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    try:
        await asyncio.wait_for(context.reports.acquire(), seconds)
    except TimeoutError:
        raise DeadlinePassed from None
    try:
        async with reports.snapshot(context.reads, until - loop.time()) as connection:
            yield connection
    finally:
        context.reports.release()


async def _program(
    context: LedgerContext, organization: str, program: str
) -> tuple[ProgramState, Policy]:
    state = await context.environment.cache.get(organization, program)
    return state, await context.environment.policy(state.key, state.revision)

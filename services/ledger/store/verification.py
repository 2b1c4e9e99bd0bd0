"""Reading accounts as they are stored, for verifying them: whatever stands there is answered.

A row that does not even have the shape of its kind comes with what is wrong with it instead of a
value, so that whoever spoilt it is found like everybody else.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import asyncpg

from chassis.database import Connection
from services.ledger.domain.account import Account, Balance, Entry, Lot, Posting
from services.ledger.domain.verify_places import Peer, Place, Surroundings
from services.ledger.store import accounts, history, rare
from services.ledger.store.accounts import Key
from services.ledger.store.seals import BILLING, PERSON, POOL, STAY, seal

# Rows that are fetched at once: few enough that other calls are answered in between.
PREFETCH = 250

_ACCOUNTS = f"""
SELECT {accounts.ACCOUNT_COLUMNS}, p.sandbox,
    EXISTS (SELECT FROM directory d WHERE d.bucket = a.bucket AND d.person = a.person),
    (SELECT g.kind FROM pool g WHERE g.bucket = a.bucket AND g.account = a.id),
    EXISTS (SELECT FROM pool g WHERE g.bucket = a.link_bucket AND g.account = a.link_account),
    EXISTS (SELECT FROM request r WHERE r.bucket = a.bucket AND r.account = a.id),
    ARRAY(
        SELECT l.sequence FROM lot l
        WHERE l.bucket = a.bucket AND l.account = a.id AND l.open <> (l.free + l.held > 0)
    ),
    ARRAY(
        SELECT l.sequence FROM lot l
        LEFT JOIN lot o ON o.bucket = l.origin_bucket AND o.account = l.origin_account
            AND o.sequence = l.origin_sequence
        WHERE l.bucket = a.bucket AND l.account = a.id AND l.origin_account IS NOT NULL
            AND (o.earn_time, o.currency, o.inactivity_months)
                IS DISTINCT FROM (l.earn_time, l.currency, l.inactivity_months)
    ),
    (SELECT d.seal IS NOT DISTINCT FROM {seal(PERSON, "d")}
        FROM directory d WHERE d.bucket = a.bucket AND d.person = a.person),
    a.billing_seal IS NOT DISTINCT FROM
        CASE WHEN a.billing_day IS NOT NULL THEN {seal(BILLING, "a")} END,
    (SELECT g.seal IS NOT DISTINCT FROM {seal(POOL, "g")}
        FROM pool g WHERE g.bucket = a.bucket AND g.account = a.id),
    ARRAY(
        SELECT m.member_account || ' since ' || m.entry FROM pool_member m
        WHERE m.bucket = a.bucket AND m.account = a.id
            AND m.seal IS DISTINCT FROM {seal(STAY, "m")}
    ),
    ARRAY(
        SELECT ARRAY[m.entry, m.bucket, m.account] FROM pool_member m
        WHERE m.member_bucket = a.bucket AND m.member_account = a.id
        ORDER BY m.entry
    ),
    ARRAY(
        SELECT r.request_id FROM request r
        LEFT JOIN posting p ON p.bucket = r.posting_bucket AND p.sequence = r.posting_sequence
        WHERE r.bucket = a.bucket AND r.account = a.id
            AND (p.request_id, p.request_digest, p.record_time, p.addressee IS NOT NULL)
                IS DISTINCT FROM (r.request_id, r.request_digest, r.record_time, true)
        ORDER BY r.request_id
    )
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, id)
JOIN account a ON a.bucket = k.bucket AND a.id = k.id
LEFT JOIN program p ON p.key = a.program
"""

_BALANCES = """
SELECT b.bucket, b.account, b.currency, b.available, b.pending, b.held, b.debt, b.earned,
    b.earning_reversed, b.redeemed, b.redemption_restored, b.expired, b.adjusted_in,
    b.adjusted_out, b.transferred_in, b.transferred_out
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN balance b ON b.bucket = k.bucket AND b.account = k.account
"""

_LOTS = f"""
SELECT {rare.WHOLE_LOT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN lot l ON l.bucket = k.bucket AND l.account = k.account
ORDER BY l.bucket, l.account, l.sequence
"""

_COUNTERS = """
SELECT c.bucket, c.account, c.counter, c.month, c.days
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN counter c ON c.bucket = k.bucket AND c.account = k.account
"""

_HOLDS = f"""
SELECT {rare.HOLD_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN hold h ON h.bucket = k.bucket AND h.account = k.account
"""

_REVERSED = """
SELECT r.bucket, r.account, r.entry, r.reversed
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN reversal r ON r.bucket = k.bucket AND r.account = k.account
"""

# A request that was addressed to another account is found from there: from the one that is named,
# or from one that was merged into it.
_NOTED = """EXISTS (
    WITH RECURSIVE asked (bucket, id) AS (
        SELECT p.addressee_bucket, p.addressee
        UNION
        SELECT x.bucket, x.id FROM asked
        JOIN account x ON x.link_bucket = asked.bucket AND x.link_account = asked.id
    )
    SELECT FROM asked JOIN request r
        ON r.bucket = asked.bucket AND r.account = asked.id AND r.request_id = p.request_id
    WHERE r.posting_bucket = p.bucket AND r.posting_sequence = p.sequence
)"""

# Of several accounts' postings one names only the first one; its entries name all accounts.
_NAMES_US = """q.request_id IS NOT NULL AND q.peer_sequence IS NOT NULL
    AND (q.peer_bucket, q.peer_sequence) <> (p.bucket, p.sequence)
    AND q.record_time = p.record_time AND EXISTS (
        SELECT FROM entry n
        WHERE n.bucket = q.bucket AND n.account = q.account
            AND n.sequence BETWEEN q.first_entry AND q.first_entry + q.entry_count - 1
            AND (n.counterpart_bucket, n.counterpart_account) = (p.bucket, p.account)
    )"""

_LINES = f"""
SELECT {history.ENTRY_COLUMNS}, {history.POSTING_COLUMNS},
    q.account, q.program, q.request_id IS NOT NULL, q.peer_bucket AS back_bucket,
    q.peer_sequence AS back_sequence, q.addressee_bucket AS of_bucket, q.addressee AS of_account,
    {_NAMES_US},
    CASE WHEN p.addressee IS NULL OR p.request_id IS NULL THEN true ELSE {_NOTED} END
"""

_AROUND = """
LEFT JOIN posting p ON p.bucket = e.bucket AND p.sequence = e.posting
LEFT JOIN posting q ON q.bucket = p.peer_bucket AND q.sequence = p.peer_sequence
"""

_ENTRIES = f"""{_LINES}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
JOIN entry e ON e.bucket = k.bucket AND e.account = k.account
{_AROUND}
ORDER BY e.bucket, e.account, e.sequence
"""

# Read in the order of the key, so that a very long history is never sorted.
_ENTRIES_OF_ONE = f"""{_LINES}
FROM entry e
{_AROUND}
WHERE e.bucket = $1 AND e.account = $2
ORDER BY e.sequence
"""

_Value = TypeVar("_Value")

# What a row of another shape raises when it is read.
_MISSHAPEN = (ValueError, TypeError, IndexError, OverflowError)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that has not the shape of its kind, and what is wrong with it."""

    row: str
    problem: str


@dataclass(frozen=True, slots=True)
class Line:
    """An entry with its posting; `posting` and `place` are None where the posting is missing."""

    entry: Entry
    posting: Posting | None
    place: Place | None


@dataclass(slots=True)
class StoredAccount:
    """An account as it is stored: balances, holds and reversals in it, the rest beside it."""

    account: Account
    around: Surroundings
    lots: list[Lot] = field(default_factory=list)
    counters: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)

    def take(self, row: str, read: Callable[[], _Value]) -> _Value | None:
        """What a row says, or None and a note where it cannot be read."""
        try:
            return read()
        except _MISSHAPEN as error:
            self.unreadable.append(Unreadable(row, str(error)))
            return None


async def read_stored(
    connection: Connection, keys: Sequence[Key]
) -> tuple[dict[Key, StoredAccount], dict[Key, Unreadable]]:
    """Accounts with all that belongs to them but entries; and those whose own row is misshapen."""
    columns = _columns(keys)
    stored: dict[Key, StoredAccount] = {}
    unreadable: dict[Key, Unreadable] = {}
    for row in await connection.fetch(_ACCOUNTS, *columns):
        sandbox, *flags, misfiled, uprooted = row[accounts.ACCOUNT_WIDTH :][:7]
        *broken, broken_stays, stays, misled = row[accounts.ACCOUNT_WIDTH :][7:]
        person, group, to_group, requests = flags
        try:
            _together(row, "link", "link_bucket", "link_account")
            account = accounts.loaded_of(row).account
        except _MISSHAPEN as error:
            unreadable[row[0], row[1]] = Unreadable("account", str(error))
        else:
            lots = frozenset(misfiled), frozenset(uprooted)
            names = ("person", "billing_day", "group")
            unsealed = [name for name, whole in zip(names, broken, strict=True) if whole is False]
            unsealed += [f"stay of account {stay}" for stay in broken_stays]
            around = Surroundings(
                sandbox, person, group, to_group, requests, *lots, tuple(misled), tuple(unsealed),
                tuple([(entry, (bucket, group)) for entry, bucket, group in stays]),
            )  # fmt: skip
            stored[row[0], row[1]] = StoredAccount(account, around)
    for row in await connection.fetch(_BALANCES, *columns):
        if (mine := stored.get((row[0], row[1]))) is not None:
            mine.account.balances[row[2]] = Balance(*row[3:])
    for row in await connection.fetch(_LOTS, *columns):
        if (mine := stored.get((row[0], row[1]))) is not None:
            lot = mine.take(f"lot {row[2]}", partial(_lot, row))
            mine.lots += [] if lot is None else [lot]
    for row in await connection.fetch(_COUNTERS, *columns):
        if (mine := stored.get((row[0], row[1]))) is not None:
            mine.counters[row[2], row[3]] = accounts.whole_month(row[4])
    for row in await connection.fetch(_HOLDS, *columns):
        if (mine := stored.get((row[0], row[1]))) is not None:
            hold = mine.take(f"hold {row[2]}", partial(rare.hold_of, row))
            mine.account.holds |= {} if hold is None else {hold.sequence: hold}
    for row in await connection.fetch(_REVERSED, *columns):
        if (mine := stored.get((row[0], row[1]))) is not None:
            mine.account.reversed[row[0], row[1], row[2]] = row[3]
    return stored, unreadable


async def read_lines(
    connection: Connection, keys: Sequence[Key]
) -> AsyncIterator[tuple[Key, Line | Unreadable]]:
    """All entries of accounts, oldest first. Reads a part at a time, so in a transaction."""
    if len(keys) == 1:
        cursor = connection.cursor(_ENTRIES_OF_ONE, *keys[0], prefetch=PREFETCH)
    else:
        cursor = connection.cursor(_ENTRIES, *_columns(keys), prefetch=PREFETCH)
    async for row in cursor:
        try:
            line: Line | Unreadable = _line(row)
        except _MISSHAPEN as error:
            line = Unreadable(f"entry {row[2]}", str(error))
        yield (row[0], row[1]), line


def _lot(row: asyncpg.Record) -> Lot:
    _together(row, "origin_bucket", "origin_account", "origin_sequence")
    return rare.whole_lot_of(row)


def _together(row: asyncpg.Record, *names: str) -> None:
    """Columns that say one thing are all set, or none of them is. ValueError where not."""
    if len({row[name] is None for name in names}) > 1:
        raise ValueError(f"only some of {', '.join(names)} are set")


def _line(row: asyncpg.Record) -> Line:
    _together(row, "counterpart_bucket", "counterpart_account")
    _together(row, "origin_bucket", "origin_account", "origin_sequence")
    _together(row, "addressee_bucket", "addressee")
    _together(row, "peer_bucket", "peer_sequence")
    entry = history.entry_of(row)
    rest = tuple(row)[history.ENTRY_WIDTH :]
    *of_posting, peer_account, of_program, asked, back_bucket, back, of_bucket, of = rest[:-2]
    names_us, noted = rest[-2:]
    if of_posting[0] is None:
        return Line(entry, None, None)
    bucket, sequence, account, program = of_posting[:4]
    first, count = of_posting[7:9]
    posting = history.posting_of(of_posting)
    peer = None
    if posting.peer_place is not None and peer_account is not None:
        peer = Peer(
            (posting.peer_place[0], peer_account),
            of_program,
            asked,
            knows_it=(back_bucket, back) == (bucket, sequence),
            names_one=back is not None,
            names_us=bool(names_us),
            addressee=None if of is None else (of_bucket, of),
        )
    return Line(entry, posting, Place((bucket, account), program, first, count, peer, noted))


def _columns(keys: Sequence[Key]) -> tuple[list[int], list[int]]:
    return [bucket for bucket, _ in keys], [account for _, account in keys]

"""Saving what a transaction decided: the stream's heads, and one statement for the rest."""

from collections.abc import Iterable, Sequence

from chassis.database import Connection
from services.ledger.domain.account import Account, Entry, Lot, Posting

_LOCK_HEADS = """
SELECT bucket, sequence FROM head WHERE bucket = ANY($1::int[]) ORDER BY bucket FOR NO KEY UPDATE
"""

_MARK_POSTED = """
UPDATE program p SET posted = true
FROM (
    SELECT key FROM program WHERE key = ANY($1::bigint[]) AND NOT posted
    ORDER BY key FOR NO KEY UPDATE
) k
WHERE p.key = k.key
RETURNING p.key, p.revision
"""

# Every part is fed by arrays and may be empty. No row is written by two parts.
_SAVE = """
WITH heads AS (
    UPDATE head h SET sequence = k.sequence
    FROM unnest($1::int[], $2::bigint[]) AS k (bucket, sequence)
    WHERE h.bucket = k.bucket
), accounts AS (
    UPDATE account a SET
        version = k.version, sequence = k.sequence, digest = k.digest, enrol_time = k.enrol_time,
        record_time = k.record_time, last_activity_time = k.last_activity_time,
        next_due_time = k.next_due_time
    FROM unnest(
        $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::timestamptz[],
        $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]
    ) AS k (
        bucket, id, version, sequence, digest, enrol_time, record_time, last_activity_time,
        next_due_time
    )
    WHERE a.bucket = k.bucket AND a.id = k.id
), balances AS (
    INSERT INTO balance AS b
    SELECT * FROM unnest(
        $12::int[], $13::bigint[], $14::smallint[], $15::bigint[], $16::bigint[], $17::bigint[],
        $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[],
        $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[]
    )
    ON CONFLICT (bucket, account, currency) DO UPDATE SET
        available = excluded.available, pending = excluded.pending, held = excluded.held,
        debt = excluded.debt, earned = excluded.earned,
        earning_reversed = excluded.earning_reversed, redeemed = excluded.redeemed,
        redemption_restored = excluded.redemption_restored, expired = excluded.expired,
        adjusted_in = excluded.adjusted_in, adjusted_out = excluded.adjusted_out,
        transferred_in = excluded.transferred_in, transferred_out = excluded.transferred_out
), new_lots AS (
    INSERT INTO lot (
        bucket, account, sequence, id, currency, points, free, held, pending, earn_time,
        mature_time, expire_time, expiry_kind, inactivity_months, open, posting
    )
    SELECT *
    FROM unnest(
        $28::int[], $29::bigint[], $30::bigint[], $31::uuid[], $32::smallint[], $33::bigint[],
        $34::bigint[], $35::bigint[], $36::boolean[], $37::timestamptz[], $38::timestamptz[],
        $39::timestamptz[], $40::smallint[], $41::smallint[], $42::boolean[], $43::bigint[]
    )
), lots AS (
    UPDATE lot l SET
        free = k.free, held = k.held, pending = k.pending, open = k.free + k.held > 0,
        expired = l.expired + coalesce(k.expired, 0)
    FROM unnest($44::int[], $45::bigint[], $46::bigint[], $47::bigint[], $48::bigint[],
        $49::boolean[], $50::bigint[])
        AS k (bucket, account, sequence, free, held, pending, expired)
    WHERE l.bucket = k.bucket AND l.account = k.account AND l.sequence = k.sequence
), counters AS (
    INSERT INTO counter (bucket, account, counter, month, days)
    SELECT k.bucket, k.account, k.counter, k.month, k.days::bigint[]
    FROM unnest($51::int[], $52::bigint[], $53::smallint[], $54::int[], $55::text[])
        AS k (bucket, account, counter, month, days)
    ON CONFLICT (bucket, account, counter, month) DO UPDATE SET days = excluded.days
), postings AS (
    INSERT INTO posting (
        bucket, sequence, account, program, request_id, request_digest, version, first_entry,
        entry_count, effective_time, record_time, revision, actor, reference
    )
    SELECT * FROM unnest(
        $56::int[], $57::bigint[], $58::bigint[], $59::bigint[], $60::text[], $61::bytea[],
        $62::bigint[], $63::bigint[], $64::int[], $65::timestamptz[], $66::timestamptz[],
        $67::bigint[], $68::text[], $69::text[]
    )
)
INSERT INTO entry (
    bucket, account, sequence, posting, kind, currency, points, available_change, pending_change,
    held_change, debt_change, available, pending, held, debt, requested, effective_time,
    record_time, lot, draw_lots, draw_points, forfeits, source, counter, counter_change, reason,
    mature_time, expire_time, expiry_kind, inactivity_months, digest
)
SELECT bucket, account, sequence, posting, kind, currency, points, available_change,
    pending_change, held_change, debt_change, available, pending, held, debt, requested,
    effective_time, record_time, lot, draw_lots::bigint[], draw_points::bigint[],
    forfeits::bigint[], source, counter, counter_change, reason, mature_time, expire_time,
    expiry_kind, inactivity_months, digest
FROM unnest(
    $70::int[], $71::bigint[], $72::bigint[], $73::bigint[], $74::smallint[], $75::smallint[],
    $76::bigint[], $77::bigint[], $78::bigint[], $79::bigint[], $80::bigint[], $81::bigint[],
    $82::bigint[], $83::bigint[], $84::bigint[], $85::bigint[], $86::timestamptz[],
    $87::timestamptz[], $88::bigint[], $89::text[], $90::text[], $91::text[], $92::bytea[],
    $93::smallint[], $94::bigint[], $95::text[], $96::timestamptz[], $97::timestamptz[],
    $98::smallint[], $99::smallint[], $100::bytea[]
) AS k (
    bucket, account, sequence, posting, kind, currency, points, available_change, pending_change,
    held_change, debt_change, available, pending, held, debt, requested, effective_time,
    record_time, lot, draw_lots, draw_points, forfeits, source, counter, counter_change, reason,
    mature_time, expire_time, expiry_kind, inactivity_months, digest
)
"""

Saved = tuple[Account, Posting]


async def lock_heads(connection: Connection, buckets: Iterable[int]) -> dict[int, int]:
    """Lock the heads of buckets, in order, until commit; the last sequence of each."""
    rows = await connection.fetch(_LOCK_HEADS, sorted(buckets))
    return {row[0]: row[1] for row in rows}


async def mark_posted(connection: Connection, programs: Iterable[int]) -> dict[int, int]:
    """Note that programs have postings; the revisions in force of those that had none."""
    rows = await connection.fetch(_MARK_POSTED, list(programs))
    return {row[0]: row[1] for row in rows}


async def save(
    connection: Connection,
    heads: dict[int, int],
    accounts: Sequence[Account],
    postings: Sequence[Saved],
) -> None:
    """Write accounts and their postings, whose places in the stream are given.

    Postings, entries and new lots of rare accounts are left to `store.rare`.
    """
    touched = [account for account in accounts if account.touched]
    plain = [account for account in touched if not account.rare]
    written = [each for each in postings if not each[0].rare]
    await connection.execute(
        _SAVE,
        list(heads),
        list(heads.values()),
        *columns([_account_row(account) for account in touched], 9),
        *columns([row for account in touched for row in _balance_rows(account)], 16),
        *columns([row for account in plain for row in _fresh_lot_rows(account)], 16),
        *columns([row for account in touched for row in _lot_rows(account)], 7),
        *columns([row for account in touched for row in _counter_rows(account)], 5),
        *columns([posting_row(account, posting) for account, posting in written], 14),
        *columns(
            [
                entry_row(account, posting, entry)
                for account, posting in written
                for entry in posting.entries
            ],
            31,
        ),
    )


def columns(rows: Sequence[Sequence[object]], width: int) -> list[Sequence[object]]:
    """Rows as the columns that `unnest` is given."""
    if not rows:
        return [()] * width
    # `unnest` fills a shorter column up with nulls, so one of nulls alone need not travel.
    count = len(rows)
    columns = zip(*rows, strict=True)
    return [() if column.count(None) == count else column for column in columns]


def _account_row(account: Account) -> tuple[object, ...]:
    return (
        account.bucket,
        account.id,
        account.version,
        account.sequence,
        account.digest,
        account.enrol_time,
        account.record_time,
        account.last_activity_time,
        account.next_due_time,
    )


def _balance_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for currency in account.changed_balances:
        b = account.balances[currency]
        yield (
            account.bucket, account.id, currency, b.available, b.pending, b.held, b.debt, b.earned,
            b.earning_reversed, b.redeemed, b.redemption_restored, b.expired, b.adjusted_in,
            b.adjusted_out, b.transferred_in, b.transferred_out,
        )  # fmt: skip


def _fresh_lot_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for sequence in account.changed_lots:
        lot = account.lots[sequence]
        if lot.fresh:
            yield fresh_lot_row(account, lot)


def fresh_lot_row(account: Account, lot: Lot) -> tuple[object, ...]:
    """The columns that every lot has."""
    return (
        account.bucket, account.id, lot.sequence, lot.id, lot.currency, lot.points, lot.free,
        lot.held, lot.pending, lot.earn_time, lot.mature_time, lot.expire_time, lot.expiry_kind,
        lot.inactivity_months, lot.free + lot.held > 0, lot.posting,
    )  # fmt: skip


def _lot_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for sequence in account.changed_lots:
        lot = account.lots[sequence]
        if not lot.fresh:
            expired = lot.expired_change or None
            yield account.bucket, account.id, sequence, lot.free, lot.held, lot.pending, expired


def _counter_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for counter, month in account.changed_counters:
        days = account.counters[counter, month]
        # The days after the last that counted are left out: the row is written at every earning.
        last = len(days)
        while last and not days[last - 1]:
            last -= 1
        # Plain numbers, so that the text of the list will do.
        yield account.bucket, account.id, counter, month, f"{{{str(days[:last])[1:-1]}}}"


def posting_row(account: Account, posting: Posting) -> tuple[object, ...]:
    """The columns that every posting has."""
    return (
        account.bucket, posting.sequence, account.id, account.program, posting.request_id,
        posting.digest, posting.version, posting.first_entry, len(posting.entries),
        posting.effective_time, posting.record_time, posting.revision, posting.actor,
        posting.reference,
    )  # fmt: skip


def entry_row(account: Account, posting: Posting, entry: Entry) -> tuple[object, ...]:
    """The columns that every entry has."""
    draws = entry.draws
    return (
        account.bucket, account.id, entry.sequence, posting.sequence, entry.kind, entry.currency,
        entry.points, *entry.change, *entry.after, entry.requested, entry.effective_time,
        entry.record_time, entry.lot,
        array([lot for lot, _ in draws]) if draws else None,
        array([points for _, points in draws]) if draws else None,
        array([n for pair in entry.forfeits for n in pair]) if entry.forfeits else None,
        entry.source, entry.counter, entry.counter_change, entry.reason, entry.mature_time,
        entry.expire_time, entry.expiry_kind, entry.inactivity_months, entry.digest,
    )  # fmt: skip


def array(numbers: Sequence[int]) -> str:
    """Numbers as the text of an array."""
    # Arrays of arrays cannot be unnested one level deep, so the inner ones travel as text.
    return f"{{{','.join(map(int.__repr__, numbers))}}}"

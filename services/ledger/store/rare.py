"""What few accounts have: holds, reversals, claims, and all columns of lots, postings and entries.

Nothing here is read or written for an account that only earns and spends.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import asyncpg

from chassis.database import Connection
from services.ledger.domain.account import Account, Entry, Hold, HoldState, Lot, Posting
from services.ledger.store.accounts import LOT_COLUMNS, Key, Loaded, lot_of
from services.ledger.store.save import array, columns, entry_row, fresh_lot_row, posting_row

EntryKey = tuple[int, int, int]
"""(bucket, account, sequence)."""

WHOLE_LOT_COLUMNS = f"""{LOT_COLUMNS}, l.expired, l.repaid, l.claim, l.noticed_time, l.expiry_days,
    l.expiry_round, l.origin_bucket, l.origin_account, l.origin_sequence, l.covered"""

# `OFFSET 0`: by key, however small the tables were when the plan was made.
_LOTS = f"""
SELECT {WHOLE_LOT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT * FROM lot o WHERE o.bucket = k.bucket AND o.account = k.account AND o.open OFFSET 0
) l
UNION ALL
SELECT {WHOLE_LOT_COLUMNS}
FROM unnest($3::int[], $4::bigint[], $5::bigint[]) AS k (bucket, account, sequence)
JOIN lot l ON l.bucket = k.bucket AND l.account = k.account AND l.sequence = k.sequence
UNION ALL
SELECT {WHOLE_LOT_COLUMNS}
FROM unnest($6::int[], $7::bigint[], $8::int[], $9::bigint[], $10::bigint[])
    AS k (bucket, account, origin_bucket, origin_account, origin_sequence)
CROSS JOIN LATERAL (
    SELECT * FROM lot o WHERE o.bucket = k.bucket AND o.account = k.account
        AND o.origin_bucket = k.origin_bucket AND o.origin_account = k.origin_account
        AND o.origin_sequence = k.origin_sequence
    OFFSET 0
) l
UNION ALL
SELECT {WHOLE_LOT_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT * FROM lot o WHERE o.bucket = k.bucket AND o.account = k.account
        AND (o.claim > 0 OR o.covered > 0) AND NOT o.open
    OFFSET 0
) l
"""

HOLD_COLUMNS = """h.bucket, h.account, h.sequence, h.posting, h.currency, h.points, h.captured,
    h.lots, h.parts, h.state, h.create_time, h.expire_time"""

_HOLDS = f"""
SELECT {HOLD_COLUMNS}
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, account)
CROSS JOIN LATERAL (
    SELECT * FROM hold o WHERE o.bucket = k.bucket AND o.account = k.account AND o.state = 1
    OFFSET 0
) h
UNION ALL
SELECT {HOLD_COLUMNS}
FROM unnest($3::int[], $4::bigint[], $5::bigint[]) AS k (bucket, account, sequence)
CROSS JOIN LATERAL (
    SELECT * FROM hold o
    WHERE o.bucket = k.bucket AND o.account = k.account AND o.sequence = k.sequence
    OFFSET 0
) h
"""

_HOLD_PAGE = f"""
SELECT {HOLD_COLUMNS} FROM hold h
WHERE h.bucket = $1 AND h.account = $2 AND h.sequence < $3 AND (h.state = 1 OR $4)
ORDER BY h.sequence DESC LIMIT $5
"""

_REVERSED = """
SELECT r.bucket, r.account, r.entry, r.reversed
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, account, entry)
CROSS JOIN LATERAL (
    SELECT * FROM reversal o
    WHERE o.bucket = k.bucket AND o.account = k.account AND o.entry = k.entry
    OFFSET 0
) r
"""

# Every part is fed by arrays and may be empty. What `store.save` writes of the same lot or account
# is written by another statement before.
_SAVE = """
WITH postings AS (
    INSERT INTO posting (
        bucket, sequence, account, program, request_id, request_digest, version, first_entry,
        entry_count, effective_time, record_time, revision, actor, reference, addressee_bucket,
        addressee, peer_bucket, peer_sequence
    )
    SELECT * FROM unnest(
        $1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[],
        $7::bigint[], $8::bigint[], $9::int[], $10::timestamptz[], $11::timestamptz[],
        $12::bigint[], $13::text[], $14::text[], $15::int[], $16::bigint[], $17::int[],
        $18::bigint[]
    )
), new_lots AS (
    INSERT INTO lot (
        bucket, account, sequence, id, currency, points, free, held, pending, earn_time,
        mature_time, expire_time, expiry_kind, inactivity_months, open, posting, expired, repaid,
        claim, noticed_time, expiry_days, expiry_round, origin_bucket, origin_account,
        origin_sequence, covered
    )
    SELECT * FROM unnest(
        $19::int[], $20::bigint[], $21::bigint[], $22::uuid[], $23::smallint[], $24::bigint[],
        $25::bigint[], $26::bigint[], $27::boolean[], $28::timestamptz[], $29::timestamptz[],
        $30::timestamptz[], $31::smallint[], $32::smallint[], $33::boolean[], $34::bigint[],
        $35::bigint[], $36::bigint[], $37::bigint[], $38::timestamptz[], $39::int[],
        $40::smallint[], $41::int[], $42::bigint[], $43::bigint[],
        $44::bigint[]
    )
), lots AS (
    UPDATE lot l SET
        repaid = k.repaid, claim = k.claim, noticed_time = k.noticed_time,
        mature_time = k.mature_time, expire_time = k.expire_time, expiry_kind = k.expiry_kind,
        covered = k.covered
    FROM unnest(
        $45::int[], $46::bigint[], $47::bigint[], $48::bigint[], $49::bigint[],
        $50::timestamptz[], $51::timestamptz[], $52::timestamptz[], $53::smallint[],
        $54::bigint[]
    ) AS k (
        bucket, account, sequence, repaid, claim, noticed_time, mature_time, expire_time,
        expiry_kind, covered
    )
    WHERE l.bucket = k.bucket AND l.account = k.account AND l.sequence = k.sequence
), holds AS (
    INSERT INTO hold (
        bucket, account, sequence, posting, currency, points, captured, lots, parts, state,
        create_time, expire_time
    )
    SELECT k.bucket, k.account, k.sequence, k.posting, k.currency, k.points, k.captured,
        k.lots::bigint[], k.parts::bigint[], k.state, k.create_time, k.expire_time
    FROM unnest(
        $55::int[], $56::bigint[], $57::bigint[], $58::bigint[], $59::smallint[], $60::bigint[],
        $61::bigint[], $62::text[], $63::text[], $64::smallint[], $65::timestamptz[],
        $66::timestamptz[]
    ) AS k (
        bucket, account, sequence, posting, currency, points, captured, lots, parts, state,
        create_time, expire_time
    )
    ON CONFLICT (bucket, account, sequence) DO UPDATE SET
        captured = excluded.captured, state = excluded.state
), reversals AS (
    INSERT INTO reversal (bucket, account, entry, reversed)
    SELECT * FROM unnest($67::int[], $68::bigint[], $69::bigint[], $70::bigint[])
    ON CONFLICT (bucket, account, entry) DO UPDATE SET reversed = excluded.reversed
), accounts AS (
    UPDATE account a SET state = k.state
    FROM unnest($71::int[], $72::bigint[], $73::smallint[]) AS k (bucket, id, state)
    WHERE a.bucket = k.bucket AND a.id = k.id
)
INSERT INTO entry (
    bucket, account, sequence, posting, kind, currency, points, available_change, pending_change,
    held_change, debt_change, available, pending, held, debt, requested, effective_time,
    record_time, lot, draw_lots, draw_points, forfeits, source, counter, counter_change, reason,
    mature_time, expire_time, expiry_kind, inactivity_months, digest, related, unrecovered,
    expired, counterpart_bucket, counterpart_account, expiry_days, expiry_round, earn_time,
    origin_bucket, origin_account, origin_sequence, repaid, cover_lots, cover_points
)
SELECT bucket, account, sequence, posting, kind, currency, points, available_change,
    pending_change, held_change, debt_change, available, pending, held, debt, requested,
    effective_time, record_time, lot, draw_lots::bigint[], draw_points::bigint[],
    forfeits::bigint[], source, counter, counter_change, reason, mature_time, expire_time,
    expiry_kind, inactivity_months, digest, related, unrecovered, expired, counterpart_bucket,
    counterpart_account, expiry_days, expiry_round, earn_time, origin_bucket, origin_account,
    origin_sequence, repaid, cover_lots::bigint[], cover_points::bigint[]
FROM unnest(
    $74::int[], $75::bigint[], $76::bigint[], $77::bigint[], $78::smallint[], $79::smallint[],
    $80::bigint[], $81::bigint[], $82::bigint[], $83::bigint[], $84::bigint[], $85::bigint[],
    $86::bigint[], $87::bigint[], $88::bigint[], $89::bigint[], $90::timestamptz[],
    $91::timestamptz[], $92::bigint[], $93::text[], $94::text[], $95::text[], $96::bytea[],
    $97::smallint[], $98::bigint[], $99::text[], $100::timestamptz[], $101::timestamptz[],
    $102::smallint[], $103::smallint[], $104::bytea[], $105::bigint[], $106::bigint[],
    $107::bigint[], $108::int[], $109::bigint[], $110::int[], $111::smallint[],
    $112::timestamptz[], $113::int[], $114::bigint[], $115::bigint[], $116::bigint[],
    $117::text[], $118::text[]
) AS k (
    bucket, account, sequence, posting, kind, currency, points, available_change, pending_change,
    held_change, debt_change, available, pending, held, debt, requested, effective_time,
    record_time, lot, draw_lots, draw_points, forfeits, source, counter, counter_change, reason,
    mature_time, expire_time, expiry_kind, inactivity_months, digest, related, unrecovered,
    expired, counterpart_bucket, counterpart_account, expiry_days, expiry_round, earn_time,
    origin_bucket, origin_account, origin_sequence, repaid, cover_lots, cover_points
)
"""


def whole_lot_of(row: asyncpg.Record) -> Lot:
    """A lot from a row of `WHOLE_LOT_COLUMNS`."""
    lot = lot_of(row)
    lot.expired, lot.repaid, lot.claim, lot.noticed_time = row[15:19]
    lot.expiry_days, lot.expiry_round = row[19:21]
    if row[21] is not None:
        lot.origin = (row[21], row[22], row[23])
    lot.covered = row[24]
    lot.whole = True
    return lot


def hold_of(row: asyncpg.Record) -> Hold:
    """A hold from a row of `HOLD_COLUMNS`."""
    return Hold(
        sequence=row[2],
        posting=row[3],
        currency=row[4],
        points=row[5],
        captured=row[6],
        parts=tuple(zip(row[7], row[8], strict=True)),
        state=HoldState(row[9]),
        create_time=row[10],
        expire_time=row[11],
    )


async def load_lots(
    connection: Connection,
    accounts: dict[Key, Loaded],
    keys: Collection[Key],
    named: Collection[EntryKey] = (),
    origins: Mapping[Key, Collection[EntryKey]] = {},
) -> None:
    """Load whole the open lots of accounts and those that owe; those named, and moved in.

    Those owe on which claims are, and in whose place others were taken.
    """
    moved = [(*key, *origin) for key, some in origins.items() for origin in some]
    rows = await connection.fetch(
        _LOTS, *columns(list(keys), 2), *columns(list(named), 3), *columns(moved, 5)
    )
    for row in rows:
        accounts[row[0], row[1]].account.lots[row[2]] = whole_lot_of(row)


async def read_lots(connection: Connection, named: Collection[EntryKey]) -> list[Lot]:
    """Whole lots as they are stored."""
    rows = await connection.fetch(_LOTS, *columns([], 2), *columns(list(named), 3), *columns([], 5))
    return [whole_lot_of(row) for row in rows]


async def load_holds(
    connection: Connection,
    accounts: dict[Key, Loaded],
    keys: Collection[Key],
    named: Collection[EntryKey],
) -> None:
    """Load the open holds of accounts, and those named."""
    rows = await connection.fetch(_HOLDS, *columns(list(keys), 2), *columns(list(named), 3))
    for row in rows:
        accounts[row[0], row[1]].account.holds[row[2]] = hold_of(row)


async def read_hold(connection: Connection, key: Key, sequence: int) -> Hold | None:
    """The hold that an entry made."""
    row = await connection.fetchrow(_HOLDS, *columns([], 2), *columns([(*key, sequence)], 3))
    return None if row is None else hold_of(row)


async def page_of_holds(
    connection: Connection, key: Key, before: int, include_closed: bool, limit: int
) -> list[Hold]:
    """At most `limit` holds of an account below a sequence, newest first."""
    rows = await connection.fetch(_HOLD_PAGE, *key, before, include_closed, limit)
    return [hold_of(row) for row in rows]


async def reversed_of(connection: Connection, entries: Collection[EntryKey]) -> dict[EntryKey, int]:
    """How much of entries was reversed; those of which nothing was are left out."""
    rows = await connection.fetch(_REVERSED, *columns(list(entries), 3))
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def save(
    connection: Connection,
    accounts: Sequence[Account],
    postings: Iterable[tuple[Account, Posting]],
) -> None:
    """Write what `store.save` left to be written of accounts that have more than most."""
    own = [(account, posting) for account, posting in postings if account.rare]
    places = {
        (account.bucket, account.id, entry.sequence): posting.sequence
        for account, posting in own
        for entry in posting.entries
    }
    await connection.execute(
        _SAVE,
        *columns([_posting_row(account, posting) for account, posting in own], 18),
        *columns([row for account in accounts for row in _fresh_lot_rows(account)], 26),
        *columns([row for account in accounts for row in _lot_rows(account)], 10),
        *columns([row for account in accounts for row in _hold_rows(account, places)], 12),
        *columns([row for account in accounts for row in _reversal_rows(account)], 4),
        *columns([_state_row(account) for account in accounts if account.changed_state], 3),
        *columns(
            [
                _entry_row(account, posting, entry)
                for account, posting in own
                for entry in posting.entries
            ],
            45,
        ),
    )


def _posting_row(account: Account, posting: Posting) -> tuple[object, ...]:
    addressee, peer = posting.addressee or (None, None), posting.peer_place or (None, None)
    return (*posting_row(account, posting), *addressee, *peer)


def _fresh_lot_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for sequence in account.changed_lots:
        lot = account.lots[sequence]
        if lot.fresh:
            yield (
                *fresh_lot_row(account, lot), lot.expired, lot.repaid, lot.claim,
                lot.noticed_time, lot.expiry_days, lot.expiry_round,
                *(lot.origin or (None, None, None)), lot.covered,
            )  # fmt: skip


def _lot_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for sequence in account.amended_lots:
        lot = account.lots.get(sequence)
        if lot is not None and not lot.fresh:
            yield (
                account.bucket, account.id, sequence, lot.repaid, lot.claim, lot.noticed_time,
                lot.mature_time, lot.expire_time, lot.expiry_kind, lot.covered,
            )  # fmt: skip


def _hold_rows(account: Account, places: Mapping[EntryKey, int]) -> Iterable[tuple[object, ...]]:
    for sequence in account.changed_holds:
        hold = account.holds[sequence]
        if hold.fresh:
            hold.posting = places[account.bucket, account.id, sequence]
        yield (
            account.bucket, account.id, sequence, hold.posting, hold.currency, hold.points,
            hold.captured, array([lot for lot, _ in hold.parts]),
            array([points for _, points in hold.parts]), hold.state, hold.create_time,
            hold.expire_time,
        )  # fmt: skip


def _reversal_rows(account: Account) -> Iterable[tuple[object, ...]]:
    for entry in account.changed_reversed:
        yield (*entry, account.reversed[entry])


def _state_row(account: Account) -> tuple[object, ...]:
    return account.bucket, account.id, account.state


def _entry_row(account: Account, posting: Posting, entry: Entry) -> tuple[object, ...]:
    return (
        *entry_row(account, posting, entry), entry.related, entry.unrecovered, entry.expired,
        *(entry.counterpart or (None, None)), entry.expiry_days, entry.expiry_round,
        entry.earn_time, *(entry.origin or (None, None, None)), entry.repaid,
        array([lot for lot, _ in entry.covers]) if entry.covers else None,
        array([points for _, points in entry.covers]) if entry.covers else None,
    )  # fmt: skip

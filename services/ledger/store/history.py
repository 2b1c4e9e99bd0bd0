"""Reading history: postings, entries and lots, and the moves of the stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from chassis.database import Connection
from services.ledger.domain.account import Entry, Kind, Limit, Lot, Posting
from services.ledger.domain.config import ExpiryKind
from services.ledger.store.accounts import LOT_COLUMNS, Key, lot_of
from services.ledger.store.links import members_of


@dataclass(frozen=True, slots=True)
class StoredPosting:
    """A posting with all its entries, and whose it is."""

    posting: Posting
    account: Key
    program: int


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry and what its posting says of it."""

    entry: Entry
    posting: Posting


POSTING_COLUMNS = """p.bucket, p.sequence, p.account, p.program, p.request_id, p.request_digest,
    p.version, p.first_entry, p.entry_count, p.effective_time, p.record_time, p.revision, p.actor,
    p.reference, p.addressee_bucket, p.addressee, p.peer_bucket, p.peer_sequence"""

ENTRY_COLUMNS = """e.bucket, e.account, e.sequence, e.posting, e.kind, e.currency, e.points,
    e.available_change, e.pending_change, e.held_change, e.debt_change, e.available, e.pending,
    e.held, e.debt, e.requested, e.effective_time, e.record_time, e.lot, e.draw_lots,
    e.draw_points, e.forfeits, e.source, e.counter, e.counter_change, e.reason, e.mature_time,
    e.expire_time, e.expiry_kind, e.inactivity_months, e.digest, e.related, e.unrecovered,
    e.expired, e.counterpart_bucket, e.counterpart_account, e.expiry_days, e.expiry_round,
    e.earn_time, e.origin_bucket, e.origin_account, e.origin_sequence, e.repaid, e.cover_lots,
    e.cover_points"""

_POSTINGS = f"""
SELECT {POSTING_COLUMNS}, d.member
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, sequence)
JOIN posting p ON p.bucket = k.bucket AND p.sequence = k.sequence
JOIN account a ON a.bucket = p.bucket AND a.id = p.account
LEFT JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
"""

_ENTRIES_OF_POSTINGS = f"""
SELECT {ENTRY_COLUMNS}
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS k (bucket, account, first, last)
JOIN entry e ON e.bucket = k.bucket AND e.account = k.account
    AND e.sequence BETWEEN k.first AND k.last
ORDER BY e.bucket, e.account, e.sequence
"""

_ENTRY_PAGE = f"""
SELECT {ENTRY_COLUMNS}, {POSTING_COLUMNS}
FROM entry e JOIN posting p ON p.bucket = e.bucket AND p.sequence = e.posting
WHERE e.bucket = $1 AND e.account = $2 AND e.sequence > $3 AND e.sequence <= $4
    AND ($5::smallint IS NULL OR e.currency = $5)
    AND ($6::smallint[] IS NULL OR e.kind = ANY ($6))
ORDER BY e.sequence {{order}} LIMIT $7
"""
_OLDEST_FIRST, _NEWEST_FIRST = (_ENTRY_PAGE.format(order=order) for order in ("ASC", "DESC"))

_LOT_IDS = """
SELECT l.bucket, l.account, l.sequence, l.id
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (bucket, account, sequence)
JOIN lot l ON l.bucket = k.bucket AND l.account = k.account AND l.sequence = k.sequence
"""

_LOT_PAGE = f"""
SELECT {LOT_COLUMNS}, e.source, p.record_time
FROM lot l
JOIN entry e ON e.bucket = l.bucket AND e.account = l.account AND e.sequence = l.sequence
JOIN posting p ON p.bucket = l.bucket AND p.sequence = l.posting
WHERE l.bucket = $1 AND l.account = $2 AND l.sequence < $3
    AND ($4::smallint IS NULL OR l.currency = $4) AND (l.open OR $5)
ORDER BY l.sequence DESC LIMIT $6
"""

_SIDES = """
SELECT p.bucket, p.sequence, p.peer_bucket, p.peer_sequence
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, sequence)
JOIN posting p ON p.peer_bucket = k.bucket AND p.peer_sequence = k.sequence
"""

_RECORD_TIMES = """
SELECT p.bucket, p.sequence, p.record_time
FROM unnest($1::int[], $2::bigint[]) AS k (bucket, sequence)
JOIN posting p ON p.bucket = k.bucket AND p.sequence = k.sequence
"""

ENTRY_WIDTH = 45
_POSTING_WIDTH = 18


def posting_of(row: Sequence[object]) -> Posting:
    """A posting without entries from a row of `POSTING_COLUMNS`."""
    bucket, sequence, _, _, request_id, digest, version, first = row[:8]
    effective, record, revision, actor, reference = row[9:14]
    addressee, peer = row[14:16], row[16:18]
    return Posting(
        request_id=request_id,  # type: ignore[arg-type]  # a row is not typed
        digest=digest,  # type: ignore[arg-type]
        version=version,  # type: ignore[arg-type]
        effective_time=effective,  # type: ignore[arg-type]
        record_time=record,  # type: ignore[arg-type]
        revision=revision,  # type: ignore[arg-type]
        actor=actor,  # type: ignore[arg-type]
        reference=reference,  # type: ignore[arg-type]
        first_entry=first,  # type: ignore[arg-type]
        sequence=sequence,  # type: ignore[arg-type]
        bucket=bucket,  # type: ignore[arg-type]
        addressee=None if addressee[1] is None else addressee,  # type: ignore[arg-type]
        peer_place=None if peer[1] is None else peer,  # type: ignore[arg-type]
    )


def entry_of(row: asyncpg.Record) -> Entry:
    """An entry from a row that begins with `ENTRY_COLUMNS`."""
    forfeits = row[21] or ()
    return Entry(
        sequence=row[2],
        kind=Kind(row[4]),
        currency=row[5],
        points=row[6],
        change=(row[7], row[8], row[9], row[10]),
        after=(row[11], row[12], row[13], row[14]),
        requested=row[15],
        effective_time=row[16],
        record_time=row[17],
        lot=row[18],
        draws=tuple(zip(row[19] or (), row[20] or (), strict=True)),
        forfeits=tuple(
            (Limit(limit), points)
            for limit, points in zip(forfeits[::2], forfeits[1::2], strict=True)
        ),
        source=row[22],
        counter=row[23],
        counter_change=row[24],
        reason=row[25],
        mature_time=row[26],
        expire_time=row[27],
        expiry_kind=None if row[28] is None else ExpiryKind(row[28]),
        inactivity_months=row[29],
        digest=row[30],
        related=row[31],
        unrecovered=row[32],
        expired=row[33],
        counterpart=None if row[35] is None else (row[34], row[35]),
        expiry_days=row[36],
        expiry_round=row[37],
        earn_time=row[38],
        origin=None if row[41] is None else (row[39], row[40], row[41]),
        repaid=row[42],
        covers=tuple(zip(row[43] or (), row[44] or (), strict=True)),
    )


def _lots_named(entries: Iterable[tuple[Key, Entry]]) -> set[tuple[int, int, int]]:
    named: set[tuple[int, int, int]] = set()
    for key, entry in entries:
        if entry.lot is not None:
            named.add((*key, entry.lot))
        named.update((*key, lot) for lot, _ in entry.draws)
    return named


async def lot_ids(
    connection: Connection, named: set[tuple[int, int, int]]
) -> dict[tuple[int, int, int], UUID]:
    """The ids of lots named by (bucket, account, sequence)."""
    if not named:
        return {}
    columns = [list(column) for column in zip(*sorted(named), strict=True)]
    rows = await connection.fetch(_LOT_IDS, *columns)
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def read_postings(
    connection: Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], StoredPosting]:
    """Postings by their place in the stream, (bucket, sequence), with entries and lots' ids."""
    rows = await connection.fetch(
        _POSTINGS, [bucket for bucket, _ in places], [sequence for _, sequence in places]
    )
    found: dict[tuple[int, int], StoredPosting] = {}
    by_place: dict[tuple[int, int], Posting] = {}
    for row in rows:
        posting = posting_of(tuple(row))
        posting.member = row[_POSTING_WIDTH] or ""
        by_place[row[0], row[1]] = posting
        found[row[0], row[1]] = StoredPosting(posting, (row[0], row[2]), row[3])
    entries = await connection.fetch(
        _ENTRIES_OF_POSTINGS,
        [row[0] for row in rows],
        [row[2] for row in rows],
        [row[7] for row in rows],
        [row[7] + row[8] - 1 for row in rows],
    )
    keyed = [((row[0], row[1]), row[3], entry_of(row)) for row in entries]
    ids = await lot_ids(connection, _lots_named((key, entry) for key, _, entry in keyed))
    for key, sequence, entry in keyed:
        posting = by_place[key[0], sequence]
        posting.entries.append(entry)
        _name_lots(posting, key, entry, ids)
    await name_others(connection, by_place.values())
    return found


async def read_sides(
    connection: Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[StoredPosting]]:
    """The postings of other accounts that belong together with some, by the place of those."""
    rows = await connection.fetch(
        _SIDES, [bucket for bucket, _ in places], [sequence for _, sequence in places]
    )
    found = await read_postings(connection, sorted({(row[0], row[1]) for row in rows}))
    sides: dict[tuple[int, int], list[StoredPosting]] = {}
    for row in sorted(rows, key=tuple):
        sides.setdefault((row[2], row[3]), []).append(found[row[0], row[1]])
    return sides


async def name_others(connection: Connection, postings: Iterable[Posting]) -> None:
    """Say whom postings and their entries name, and the ids of postings that belong with them.

    Only entries that the postings hold are looked at; the posting's `member` is set before.
    """
    named: list[tuple[Posting, Key]] = []
    peers: list[tuple[Posting, tuple[int, int]]] = []
    for posting in postings:
        keys = {entry.counterpart for entry in posting.entries} | {posting.addressee}
        named.extend((posting, key) for key in keys if key is not None)
        if posting.peer_place is not None:
            peers.append((posting, posting.peer_place))
    if named:
        members = await members_of(connection, sorted({key for _, key in named}))
        for posting, key in named:
            posting.names[key] = members.get(key, "")
            if key == posting.addressee:
                posting.account_member, posting.member = posting.member, posting.names[key]
    if peers:
        wanted = sorted({place for _, place in peers})
        rows = await connection.fetch(
            _RECORD_TIMES, [place[0] for place in wanted], [place[1] for place in wanted]
        )
        times = {(row[0], row[1]): row[2] for row in rows}
        for posting, place in peers:
            posting.peer_time = times.get(place)


def _name_lots(
    posting: Posting, key: Key, entry: Entry, ids: dict[tuple[int, int, int], UUID]
) -> None:
    for lot in (*(lot for lot, _ in entry.draws), entry.lot):
        if lot is not None and (*key, lot) in ids:
            posting.lots[lot] = ids[*key, lot]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries of an account after a sequence, up to and including another.

    Of a currency and of some kinds, or (None) of all.
    """

    key: Key
    after: int
    until: int
    currency: int | None
    kinds: tuple[int, ...] | None = None
    newest_first: bool = False


async def page_of_entries(
    connection: Connection, stretch: Stretch, limit: int
) -> list[StoredEntry]:
    """At most `limit` entries of a stretch, with lots' ids."""
    rows = await connection.fetch(
        _NEWEST_FIRST if stretch.newest_first else _OLDEST_FIRST,
        *stretch.key, stretch.after, stretch.until, stretch.currency, stretch.kinds, limit,
    )  # fmt: skip
    return await stored_entries(connection, stretch.key, rows)


async def stored_entries(
    connection: Connection, key: Key, rows: Iterable[asyncpg.Record]
) -> list[StoredEntry]:
    """Entries of one account from rows of `ENTRY_COLUMNS` and `POSTING_COLUMNS`, with lots' ids."""
    result = [StoredEntry(entry_of(row), posting_of(tuple(row)[ENTRY_WIDTH:])) for row in rows]
    ids = await lot_ids(connection, _lots_named((key, stored.entry) for stored in result))
    for stored in result:
        _name_lots(stored.posting, key, stored.entry, ids)
        # Its only entry here; the posting says whom it names.
        stored.posting.entries.append(stored.entry)
    await name_others(connection, [stored.posting for stored in result])
    return result


@dataclass(frozen=True, slots=True)
class StoredLot:
    """A lot, what it was given for, and when its posting was recorded."""

    lot: Lot
    source: bytes | None
    record_time: datetime


async def page_of_lots(
    connection: Connection,
    key: Key,
    before: int,
    currency: int | None,
    include_closed: bool,
    limit: int,
) -> list[StoredLot]:
    """At most `limit` lots below a sequence, newest first."""
    rows = await connection.fetch(_LOT_PAGE, *key, before, currency, include_closed, limit)
    return [StoredLot(lot_of(row), row[15], row[16]) for row in rows]

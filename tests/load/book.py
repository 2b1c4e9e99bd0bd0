"""Large books made by SQL, row for row what the ledger would have written, in bounded time.

Points are earned one gift at a time; only the digests are made up, so such a book does not verify.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from services.ledger.domain.config import CurrencyConfig, ProgramConfig
from services.ledger.store.config_json import config_to_json
from tests.load.loads import GIFT, ORGANIZATION, PROGRAM

BUCKETS = 64
LOADERS = 2
PARTS = 16
"""In so many statements a table is filled: none of them may take minutes."""


@dataclass(frozen=True)
class Book:
    """So many members with so many earnings each.

    Where `due`, their lots expired at the end of last month and nobody has noticed yet; there are
    no postings and entries then, which an expiry never reads.
    """

    members: int
    each: int
    due: bool = False


_PROGRAM = """
INSERT INTO organization VALUES ('{organization}', '{{}}', 1, now());
INSERT INTO program (
    key, organization, id, display_name, sandbox, posted, revision, version, create_time
) VALUES (1, '{organization}', '{program}', '', false, true, 1, 1, now());
INSERT INTO program_revision VALUES (1, 1, now(), 'bench', '', '{config}');
INSERT INTO fact VALUES ('buckets', '{buckets}');
CREATE UNLOGGED TABLE person AS
SELECT m + 1 AS id, member, bucket, row_number() OVER (PARTITION BY bucket ORDER BY m) - 1 AS place
FROM (
    SELECT m, member, get_byte(
        sha256('{organization}'::bytea || '\\x00'::bytea || member::bytea), 7
    ) % {buckets} AS bucket
    FROM (SELECT m, 'member-' || lpad(m::text, 7, '0') AS member
        FROM generate_series(0, {members} - 1) AS m) AS named
) AS placed
ORDER BY bucket, m;
ANALYZE person;
INSERT INTO head
SELECT bucket, coalesce(max(place) + 1, 0) * {each}
FROM generate_series(0, {buckets} - 1) AS bucket LEFT JOIN person USING (bucket) GROUP BY bucket;
INSERT INTO directory (name_bucket, organization, member, bucket, person)
SELECT bucket, '{organization}', member, bucket, id FROM person;
INSERT INTO account (
    bucket, id, program, person, state, sandbox, version, sequence, digest, enrol_time,
    record_time, last_activity_time, next_due_time
)
SELECT bucket, id, 1, id, 1, false, {each}, {each}, sha256(int8send(id)), {earned}, {earned},
    {earned}, {due}
FROM person;
INSERT INTO balance
SELECT bucket, id, 0, {each} * {gift}, 0, 0, 0, {each} * {gift}, 0, 0, 0, 0, 0, 0, 0, 0 FROM person;
INSERT INTO counter
SELECT bucket, id, -1, 12 * date_part('year', day) + date_part('month', day) - 1,
    array_fill(0::bigint, ARRAY[date_part('day', day)::int - 1]) || {each} * {gift}::bigint
FROM person CROSS JOIN (SELECT ({earned}) AT TIME ZONE 'UTC' AS day) AS moment;
"""

_QUIET = """
ALTER TABLE entry SET (autovacuum_enabled = off);
ALTER TABLE posting SET (autovacuum_enabled = off);
ALTER TABLE lot SET (autovacuum_enabled = off);
"""

_EACH = " FROM person CROSS JOIN generate_series(1, {each}) AS k WHERE bucket % {parts} = {part}"

_LOTS = """
INSERT INTO lot (
    bucket, account, sequence, id, currency, points, free, held, pending, earn_time, mature_time,
    expire_time, expiry_kind, inactivity_months, open, posting
)
SELECT bucket, id, k, gen_random_uuid(), 0, {gift}, {gift}, 0, false, {earned}, {earned}, {due},
    {kind}, 0, true, place * {each} + k
"""

_POSTINGS = """
INSERT INTO posting (
    bucket, sequence, account, program, request_id, request_digest, version, first_entry,
    entry_count, effective_time, record_time, revision, actor, reference
)
SELECT bucket, place * {each} + k, id, 1, 'loaded-' || lpad(k::text, 12, '0'),
    substr(sha256(int8send(k)), 1, 16), k, k, 1, {earned}, {earned}, 1, 'bench', ''
"""

_ENTRIES = """
INSERT INTO entry (
    bucket, account, sequence, posting, kind, currency, points, available_change, pending_change,
    held_change, debt_change, available, pending, held, debt, requested, effective_time,
    record_time, lot, mature_time, expiry_kind, inactivity_months, digest
)
SELECT bucket, id, k, place * {each} + k, 2, 0, {gift}, {gift}, 0, 0, 0, {gift} * k, 0, 0, 0,
    {gift}, {earned}, {earned}, k, {earned}, {kind}, 0, sha256(int8send(id * {each} + k))
"""


def load(psql: Callable[[str, str], object], database: str, book: Book) -> None:
    """Fill an empty, migrated database; `psql` runs SQL in a database as the superuser."""
    words = {
        "organization": ORGANIZATION,
        "program": PROGRAM,
        "config": json.dumps(config_to_json(ProgramConfig(currencies=(CurrencyConfig("points"),)))),
        "buckets": BUCKETS,
        "members": book.members,
        "each": book.each,
        "gift": GIFT,
        "due": "date_trunc('month', now())" if book.due else "NULL::timestamptz",
        "earned": "now() - interval '11 months'" if book.due else "now()",
        "kind": 2 if book.due else 1,
        "parts": PARTS,
    }
    psql(_PROGRAM.format(**words), database)
    # It would begin to clean up in the middle of what is measured.
    psql(_QUIET, database)
    tables = [_LOTS] if book.due else [_ENTRIES, _POSTINGS, _LOTS]

    def fill(statement: str) -> None:
        psql(f"SET synchronous_commit = off; {statement}", database)

    with ThreadPoolExecutor(LOADERS) as loaders:
        statements = [
            (table + _EACH).format(**words, part=part) for table in tables for part in range(PARTS)
        ]
        list(loaders.map(fill, statements))
    # What changes with every earning would long have been cleaned up.
    psql("DROP TABLE person; VACUUM account, balance, counter, head", database)
    psql("ANALYZE; CHECKPOINT", database)

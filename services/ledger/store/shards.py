"""The accounts of a program, bucket by bucket, for what goes through all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.database import Connection
from services.ledger.store.accounts import Key


@dataclass(frozen=True, slots=True)
class Sized:
    """An account, and how many entries it has."""

    key: Key
    entries: int


_COUNT = """
SELECT count(*) FROM account
WHERE program = $1 AND bucket = ANY($2::int[]) AND (bucket > $3 OR bucket = $3 AND id > $4)
"""

_PAGE = """
SELECT id, sequence FROM account WHERE bucket = $1 AND program = $2 AND id > $3
ORDER BY id LIMIT $4
"""

# Postings whose account is gone, or is of another program: nothing else in a walk through the
# accounts would meet them.
_LOST = """
SELECT p.account, min(p.sequence)
FROM posting p LEFT JOIN account a ON a.bucket = p.bucket AND a.id = p.account
WHERE p.bucket = $1 AND p.program = $2 AND a.program IS DISTINCT FROM p.program
GROUP BY p.account ORDER BY p.account LIMIT $3
"""


async def count_accounts(
    connection: Connection, program: int, buckets: Sequence[int], after: Key
) -> int:
    """How many accounts a program has in some buckets after one of them."""
    count: int = await connection.fetchval(_COUNT, program, list(buckets), *after)
    return count


async def page_of_accounts(
    connection: Connection, program: int, bucket: int, after: int, limit: int
) -> list[Sized]:
    """At most `limit` accounts of a program in a bucket, above a number, in order."""
    rows = await connection.fetch(_PAGE, bucket, program, after, limit)
    return [Sized((bucket, row[0]), row[1]) for row in rows]


async def lost_accounts(
    connection: Connection, program: int, bucket: int, limit: int
) -> list[tuple[Key, int]]:
    """At most `limit` accounts that are not there, and their first posting in the program."""
    rows = await connection.fetch(_LOST, bucket, program, limit)
    return [((bucket, row[0]), row[1]) for row in rows]

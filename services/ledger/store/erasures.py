"""Who was erased: published on the stream, remembered for a while, then forgotten here, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Connection

_HEADS = text("""
SELECT bucket, sequence FROM head WHERE bucket = ANY(:buckets) ORDER BY bucket
FOR NO KEY UPDATE
""")

_ADVANCE = text("UPDATE head SET sequence = :sequence WHERE bucket = :bucket")

_INSERT = text("""
INSERT INTO erasure (
    bucket, sequence, organization, member, record_time, request_id, request_digest, members,
    identifiers, posting_buckets, posting_sequences
) VALUES (
    :bucket, :sequence, :organization, :member, :record_time, :request_id, :request_digest,
    :members, :identifiers, :posting_buckets, :posting_sequences
)
""")

_RECORDED = """
SELECT request_digest, members, identifiers, posting_buckets, posting_sequences
FROM erasure
WHERE bucket = $1 AND organization = $2 AND member = $3 AND request_id = $4
"""

_SINCE = """
SELECT EXISTS (
    SELECT FROM erasure
    WHERE bucket = $1 AND organization = $2 AND member = $3 AND record_time >= $4
)
"""

_FORGET = text("""
UPDATE erasure SET member = NULL, request_id = NULL, request_digest = NULL, members = NULL,
    identifiers = NULL, posting_buckets = NULL, posting_sequences = NULL
WHERE member IS NOT NULL AND record_time < :before
""")


@dataclass(frozen=True, slots=True)
class ErasedName:
    """An id that leads to nobody any more; the bucket is that of its own accounts."""

    bucket: int
    organization: str
    member: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a request erased, and where the postings are that wrote points off."""

    digest: bytes
    members: int
    identifiers: int
    postings: Sequence[tuple[int, int]]


async def publish(
    connection: AsyncConnection,
    names: Sequence[ErasedName],
    request: tuple[str, str],
    done: Done,
    record_time: datetime,
) -> None:
    """Append to the stream who was erased by a request, (member, its id). Last in its transaction.

    Each name goes where the postings of its own accounts are, so that it comes after all of them.
    """
    member, request_id = request
    heads = {
        row[0]: row[1]
        for row in await connection.execute(
            _HEADS, {"buckets": sorted({name.bucket for name in names})}
        )
    }
    rows: list[dict[str, object]] = []
    for name in names:
        heads[name.bucket] += 1
        asked = name.member == member
        rows.append(
            {
                "bucket": name.bucket,
                "sequence": heads[name.bucket],
                "organization": name.organization,
                "member": name.member,
                "record_time": record_time,
                "request_id": request_id if asked else None,
                "request_digest": done.digest if asked else None,
                "members": done.members if asked else None,
                "identifiers": done.identifiers if asked else None,
                "posting_buckets": [bucket for bucket, _ in done.postings] if asked else None,
                "posting_sequences": [place for _, place in done.postings] if asked else None,
            }
        )
    await connection.execute(
        _ADVANCE,
        [{"bucket": bucket, "sequence": sequence} for bucket, sequence in heads.items()],
    )
    await connection.execute(_INSERT, rows)


async def recorded(connection: Connection, name: ErasedName, request_id: str) -> Done | None:
    """What a request erased, as long as that is remembered."""
    row = await connection.fetchrow(
        _RECORDED, name.bucket, name.organization, name.member, request_id
    )
    if row is None:
        return None
    return Done(bytes(row[0]), row[1], row[2], list(zip(row[3], row[4], strict=True)))


async def any_since(connection: Connection, name: ErasedName, instant: datetime) -> bool:
    """Whether an id was erased at or after an instant, as long as that is remembered."""
    return bool(
        await connection.fetchval(_SINCE, name.bucket, name.organization, name.member, instant)
    )


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Forget who was erased before an instant; how many ids."""
    return (await connection.execute(_FORGET, {"before": before})).rowcount

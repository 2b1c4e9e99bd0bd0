"""Ids that services make: UUIDv7 (RFC 9562) whose free bits say where the thing is.

The 12 bits after the version hold a bucket, and the 62 bits after the variant a number: the place
in the bucket's stream, or random bits. So an id alone leads to its row.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LOW_BITS = (1 << 62) - 1


_last: tuple[datetime, int] = (EPOCH, 0)


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z; negative before."""
    global _last  # noqa: PLW0603 - most instants of a transaction are one object
    last, known = _last
    if instant is last:
        return known
    micros = (instant - EPOCH) // _MICROSECOND
    _last = (instant, micros)
    return micros


def uuid7(instant: datetime, bucket: int, low: int) -> UUID:
    """A UUIDv7 of `instant` (from 1970 on), with a bucket below 4,096 and a number of 62 bits."""
    ms = max(0, microseconds(instant) // 1_000)
    return UUID(int=ms << 80 | 7 << 76 | bucket << 64 | 2 << 62 | low & _LOW_BITS)


def bucket_and_low(identifier: UUID) -> tuple[int, int]:
    """The bucket and the number that `uuid7` put into an id."""
    number = identifier.int
    return number >> 64 & 0xFFF, number & _LOW_BITS


@lru_cache(maxsize=200_000)
def bucket_of(organization: str, name: str, buckets: int) -> int:
    """The bucket of a name: 8 bytes of SHA-256 of organization, NUL, name, modulo `buckets`."""
    digest = hashlib.sha256(f"{organization}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % buckets


def surrogate(instant: datetime, random21: int) -> int:
    """A 63-bit number that grows with time: milliseconds (42 bits), then 21 random bits."""
    ms = max(0, microseconds(instant) // 1_000) & ((1 << 42) - 1)
    return ms << 21 | random21 & 0x1FFFFF

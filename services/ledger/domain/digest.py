"""The digest chain of an account: what `docs/digest.md` states, in code.

digest(0)   = SHA-256("loyalty.ledger.account" ‖ format ‖ field(bucket) ‖ field(account))
content(p)  = SHA-256(format ‖ fields of the posting)
digest(n)   = SHA-256(digest(n−1) ‖ format ‖ fields of entry n, the last of them content(p))

A field is its length in bytes (4 bytes, big endian) and its bytes. Integers are 8 bytes, two's
complement, big endian; text is UTF-8; instants are microseconds since 1970 in UTC.
"""

import hashlib
import struct
from datetime import datetime

from kernel.ids import microseconds
from services.ledger.domain.account import Entry, Posting

FORMAT = b"\x01"
NONE = -(2**63)
_NUMBERS = struct.Struct(">" + "Iq" * 23)
_POSTING = struct.Struct(">" + "Iq" * 4)
_LENGTH = struct.Struct(">I")
_PAIR = struct.Struct(">qq")
_INTEGER = struct.Struct(">q")
_FURTHER_FIELDS = 8
_NOTHING_FURTHER = (None,) * _FURTHER_FIELDS
_MOVED_FIELDS = 5
_EMPTY = _LENGTH.pack(0)
_ACCOUNT = struct.Struct(">IqIq")


def first_digest(bucket: int, account: int) -> bytes:
    """What the first entry of an account is chained to."""
    return hashlib.sha256(
        b"loyalty.ledger.account" + FORMAT + _ACCOUNT.pack(8, bucket, 8, account)
    ).digest()


def _time(instant: datetime | None) -> int:
    return NONE if instant is None else microseconds(instant)


def _number(value: int | None) -> int:
    return NONE if value is None else value


def _field(value: bytes | None) -> bytes:
    return _LENGTH.pack(len(value)) + value if value else _EMPTY


def _text(value: str | None) -> bytes:
    return _field(value.encode()) if value else _EMPTY


def _pairs(pairs: tuple[tuple[int, int], ...]) -> bytes:
    return _field(b"".join([_PAIR.pack(*pair) for pair in pairs])) if pairs else _EMPTY


def content_digest(posting: Posting) -> bytes:
    """What a posting says besides its entries."""
    addressee = posting.addressee
    further = b"" if addressee is None else _ACCOUNT.pack(8, addressee[0], 8, addressee[1])
    return hashlib.sha256(
        FORMAT
        + _POSTING.pack(
            8,
            posting.version,
            8,
            microseconds(posting.effective_time),
            8,
            microseconds(posting.record_time),
            8,
            posting.revision,
        )
        + _text(posting.request_id)
        + _field(posting.digest)
        + _text(posting.actor)
        + _text(posting.reference)
        + further
    ).digest()


def entry_digest(previous: bytes, entry: Entry, content: bytes) -> bytes:
    """The digest of an entry, chained to the one before it."""
    change, after = entry.change, entry.after
    fields, further = _further(entry)
    numbers = _NUMBERS.pack(
        *(8, entry.sequence, 8, entry.kind, 8, _number(entry.currency), 8, entry.points),
        *(8, change[0], 8, change[1], 8, change[2], 8, change[3]),
        *(8, after[0], 8, after[1], 8, after[2], 8, after[3], 8, entry.requested),
        *(8, microseconds(entry.effective_time), 8, microseconds(entry.record_time)),
        *(8, _number(entry.lot), 8, _number(entry.counter), 8, _number(entry.counter_change)),
        *(8, _time(entry.mature_time), 8, _time(entry.expire_time)),
        *(8, _number(entry.expiry_kind), 8, _number(entry.inactivity_months)),
        # The number of fields that follow: more where an entry says what few do.
        *(8, 5 + fields),
    )
    return hashlib.sha256(
        b"".join(
            (
                previous,
                FORMAT,
                numbers,
                _pairs(entry.draws),
                _pairs(entry.forfeits),
                _field(entry.source),
                _text(entry.reason),
                _field(content),
                further,
            )
        )
    ).digest()


def _further(entry: Entry) -> tuple[int, bytes]:
    """What only some entries say, and in how many fields."""
    bucket, account = entry.counterpart or (None, None)
    numbers = (
        entry.related,
        entry.unrecovered,
        entry.expired,
        bucket,
        account,
        entry.expiry_days,
        entry.expiry_round,
        None if entry.earn_time is None else microseconds(entry.earn_time),
    )
    if entry.origin is not None or entry.repaid is not None or entry.covers:
        moved = (*(entry.origin or (None, None, None)), entry.repaid)
        fields = _FURTHER_FIELDS + _MOVED_FIELDS
        return fields, _integers((*numbers, *moved)) + _pairs(entry.covers)
    if numbers == _NOTHING_FURTHER:
        return 0, b""
    return _FURTHER_FIELDS, _integers(numbers)


def _integers(numbers: tuple[int | None, ...]) -> bytes:
    return b"".join([_LENGTH.pack(8) + _INTEGER.pack(_number(number)) for number in numbers])

"""Columns of rows as Postgres takes arrays in binary, made by whole columns.

A lane's statements carry some ninety arrays. The driver looks at every element of an array through
two abstract base classes, which costs more than deciding the commands; here a column is one call of
`struct` an element, or a single one where all its elements are the same.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from chassis.database import Connection

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NULL = b"\xff\xff\xff\xff"
_HEAD = struct.Struct(">iiiii")
_LENGTH = struct.Struct(">i")

Values = Sequence[Any]
Encode = Callable[[Values], bytes]
Decode = Callable[[bytes], list[Any]]


def _microseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _fixed(oid: int, code: str, convert: Callable[[Any], Any] | None = None) -> Encode:
    """Packs elements of one size; `convert` makes what `struct` packs as `code`."""
    one = struct.Struct(">" + code)
    pack: Callable[[Any], bytes] = one.pack
    if convert is not None:
        number, packed = convert, one.pack

        def pack(value: Any) -> bytes:
            return packed(number(value))

    return _encoder(oid, pack, _LENGTH.pack(one.size))


def _encoder(oid: int, pack: Callable[[Any], bytes], length: bytes) -> Encode:
    """Packs arrays; `length` stands before every element, none where `pack` writes it itself."""
    empty = struct.pack(">iii", 0, 0, oid)

    def encode(values: Values) -> bytes:
        count = len(values)
        if not count:
            return empty
        first, last = values[0], values[-1]
        if first is last and first is not None and values.count(first) == count:
            return _HEAD.pack(1, 0, oid, count, 1) + (length + pack(first)) * count
        if None in values:
            parts = [_NULL if value is None else length + pack(value) for value in values]
            return _HEAD.pack(1, 1, oid, count, 1) + b"".join(parts)
        return _HEAD.pack(1, 0, oid, count, 1) + length + length.join(map(pack, values))

    return encode


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _uuid(value: UUID) -> bytes:
    return value.bytes


@lru_cache(maxsize=256)
def _numbers(code: str, count: int) -> struct.Struct:
    return struct.Struct(">" + ("i" + code) * count)


def _decoder(size: int, code: str, read: Callable[[bytes], Any]) -> Decode:
    """Reads arrays of one dimension; `size` and `code` are of elements that `struct` unpacks."""

    def decode(data: bytes) -> list[Any]:
        if len(data) < _HEAD.size:
            return []
        dimensions, _, _, count, _ = _HEAD.unpack_from(data)
        if dimensions != 1:
            raise ValueError("an array of several dimensions")
        if code and len(data) == _HEAD.size + count * (4 + size):
            return list(_numbers(code, count).unpack_from(data, _HEAD.size)[1::2])
        values: list[Any] = []
        place = _HEAD.size
        for _ in range(count):
            length: int = _LENGTH.unpack_from(data, place)[0]
            place += 4
            if length < 0:
                values.append(None)
                continue
            values.append(read(data[place : place + length]))
            place += length
        return values

    return decode


def _unpacks(code: str) -> Callable[[bytes], Any]:
    one = struct.Struct(">" + code)
    return lambda data: one.unpack(data)[0]


_CODECS: tuple[tuple[int, str, Encode, Decode], ...] = (
    (1000, "_bool", _fixed(16, "?"), _decoder(1, "?", _unpacks("?"))),
    (1001, "_bytea", _encoder(17, _bytes, b""), _decoder(0, "", bytes)),
    (1005, "_int2", _fixed(21, "h"), _decoder(2, "h", _unpacks("h"))),
    (1007, "_int4", _fixed(23, "i"), _decoder(4, "i", _unpacks("i"))),
    (1016, "_int8", _fixed(20, "q"), _decoder(8, "q", _unpacks("q"))),
    (1009, "_text", _encoder(25, _text, b""), _decoder(0, "", bytes.decode)),
    (
        1185,
        "_timestamptz",
        _fixed(1184, "q", _microseconds),
        _decoder(0, "", lambda data: _moment(struct.unpack(">q", data)[0])),
    ),
    (
        2951,
        "_uuid",
        _encoder(2950, _uuid, _LENGTH.pack(16)),
        _decoder(0, "", lambda data: UUID(bytes=data)),
    ),
)


def pack_columns(connection: Connection) -> None:
    """Let a connection's arrays be packed here, those of parameters and those of results.

    The driver's public `set_type_codec` does the same for every type but arrays, whose numbers are
    the same in every database.
    """
    driver: Any = connection
    settings = driver._protocol.get_settings()  # noqa: SLF001 - there is no public way for arrays
    for oid, name, encode, decode in _CODECS:
        settings.add_python_codec(oid, name, "pg_catalog", [], "scalar", encode, decode, "binary")

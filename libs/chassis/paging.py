"""Page tokens: where a list goes on, bound to the query that began it."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

from kernel.refusals import FieldViolation, InvalidField, InvalidPageToken

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1000

_DIGEST_BYTES = 12
_TOKEN_CHARS_MAX = 2000
_INTEGER_MAX = 2**63 - 1

Position = Sequence[str | int]


def page_size(requested: int) -> int:
    """How many rows a page has: 50 for 0, else what was asked, from 1 to 1,000."""
    if not 0 <= requested <= PAGE_SIZE_MAX:
        raise InvalidField(FieldViolation("page_size", f"must be 0 to {PAGE_SIZE_MAX}"))
    return requested or PAGE_SIZE_DEFAULT


def encode_token(query: Mapping[str, object], position: Position) -> str:
    """The token for the page after `position`, the sort key of the last row returned.

    `query` is everything else that decides what is listed (organization, program, filters). The
    token says nothing that the caller may not know: it is opaque, not secret.
    """
    body = json.dumps(list(position), separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_digest(query) + body).decode().rstrip("=")


def decode_token(
    token: str, query: Mapping[str, object], kinds: Sequence[type[str] | type[int]] | None = None
) -> tuple[str | int, ...] | None:
    """The position in a token; None for the first page, whose token is empty.

    `kinds` are the types that the position must have: a token can be forged, so that a position is
    a caller's input like any other. Refuses a token of another query with INVALID_PAGE_TOKEN.
    """
    if not token:
        return None
    if len(token) > _TOKEN_CHARS_MAX or not token.isascii():
        raise InvalidPageToken
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = json.loads(raw[_DIGEST_BYTES:])
    except (ValueError, RecursionError):
        raise InvalidPageToken from None
    if raw[:_DIGEST_BYTES] != _digest(query) or not _is_position(position, kinds):
        raise InvalidPageToken
    return tuple(position)


def _is_position(position: object, kinds: Sequence[type[str] | type[int]] | None) -> bool:
    if not isinstance(position, list):
        return False
    if kinds is not None and [type(each) for each in position] != list(kinds):
        return False
    return all(
        (type(each) is int and abs(each) <= _INTEGER_MAX)
        or (type(each) is str and "\x00" not in each)
        for each in position
    )


def _digest(query: Mapping[str, object]) -> bytes:
    canonical = json.dumps(query, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).digest()[:_DIGEST_BYTES]

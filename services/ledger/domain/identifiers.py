"""What a person is found by: a card, a phone number, kept as a keyed hash and never in clear."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from kernel.ids import bucket_of
from kernel.refusals import LimitReached, Refusal

IDENTIFIERS_MAX = 20


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """An identifier as it is stored: `value` is HMAC-SHA-256 of organization, kind and value."""

    name_bucket: int
    organization: str
    kind: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Hashing:
    """How an organization's identifiers are hashed.

    The key is made with the database. Without it nobody can try all phone numbers against a copy of
    the table, and equal values of two organizations do not look alike.
    """

    key: bytes
    buckets: int
    organization: str

    def identifier(self, kind: str, value: str) -> Identifier:
        """The identifier of a value in clear."""
        content = f"{self.organization}\0{kind}\0{value}".encode()
        digest = hmac.new(self.key, content, hashlib.sha256).digest()
        bucket = bucket_of(self.organization, f"{kind}\0{digest.hex()}", self.buckets)
        return Identifier(bucket, self.organization, kind, digest)


def etag_of_member(billing_day: int | None, identifiers: Iterable[tuple[str, bytes]]) -> str:
    """Changes with what `UpdateMember` changes; identifiers are (kind, hash)."""
    content = hashlib.sha256(str(billing_day or 0).encode())
    for kind, value in sorted(identifiers):
        content.update(kind.encode() + b"\0" + value)
    return f"member-{content.hexdigest()[:16]}"


def check_count(count: int) -> None:
    """Refuse with LIMIT_REACHED more identifiers than a person may have."""
    if count > IDENTIFIERS_MAX:
        raise LimitReached("identifiers", IDENTIFIERS_MAX, count)


class IdentifierExists(Refusal):
    """The identifier is somebody else's."""

    reason = "IDENTIFIER_EXISTS"

    def __init__(self, kind: str) -> None:
        super().__init__(f"that {kind} is another member's", kind=kind)


class IdentifierNotFound(Refusal):
    """Nobody in the program has the identifier; its value is not repeated."""

    reason = "MEMBER_NOT_FOUND"

    def __init__(self, kind: str) -> None:
        super().__init__(f"no member has that {kind}")

"""Which bucket a name belongs to. Every row of an account carries its bucket."""

from hashlib import sha256


def bucket_of(organization: str, name: str, buckets: int) -> int:
    """The bucket of a member's id, or of a program's, in an organization: from 0 to `buckets` − 1.

    The first 8 bytes of SHA-256(organization NUL name) as a big-endian number, modulo `buckets`.
    """
    digest = sha256(f"{organization}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % buckets

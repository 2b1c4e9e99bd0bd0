"""Ed25519 keys in PEM files, for what is signed once and verified by others much later."""

import os
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from chassis.files import write_whole

PRIVATE = 0o600


class KeyUnusable(ValueError):
    """A file is no private Ed25519 key; the message is for the person who put it there."""


class Signer:
    """Signs with a private key."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key

    def sign(self, content: bytes) -> bytes:
        """The signature, 64 bytes (RFC 8032)."""
        # joserfc's type names all keys of the family; reading the file took Ed25519 alone.
        key: Any = self._key.get_op_key("sign")
        return bytes(key.sign(content))

    @property
    def public_pem(self) -> str:
        """The public key as a PEM text."""
        return self._key.as_pem(private=False).decode()


def read_signer(path: Path) -> Signer:
    """The signer of a private key's PEM file. Raises KeyUnusable where it is none."""
    try:
        key = OKPKey.import_key(path.read_bytes())
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
    except ValueError:
        key = None
    if key is None or not key.is_private or key.get("crv") != "Ed25519":
        raise KeyUnusable(f"{path} is no private Ed25519 key (PEM)")
    return Signer(key)


def ensure_key_pair(private: Path, public: Path) -> None:
    """Make a key pair on first use; the private one is readable by its owner only."""
    if not private.exists():
        made = OKPKey.generate_key("Ed25519")
        write_whole(private, made.as_pem(private=True).decode(), PRIVATE)
    if not public.exists():
        write_whole(public, read_signer(private).public_pem)

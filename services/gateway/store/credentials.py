"""The credentials file: who may call with an API key. It holds hashes, never keys.

One JSON object from the SHA-256 of a key, in hexadecimal, to what the key stands for:
`{"9f86d0…": {"organization": "acme", "scopes": ["ledger:read"], "actor": "till-7"}}`.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chassis.identity import SCOPES, Identity
from chassis.logs import logger

_CHECK_SECONDS = 1.0
_KEY_CHARS_MAX = 512
_MARK = tuple[int, int, int]

_log = logger(__name__)


class CredentialsFile:
    """The API keys of a file, read again when it changes; looked at once a second at most.

    A file that cannot be read when the gateway starts is an error; later the keys read last go on
    holding and the log says so.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._mark = _mark(path)
        self._keys = read_credentials(path.read_bytes())
        self._next_check = clock() + _CHECK_SECONDS

    def find(self, key: str) -> Identity | None:
        """Whom an API key stands for; None where it is unknown."""
        if self._clock() >= self._next_check:
            self._next_check = self._clock() + _CHECK_SECONDS
            self._refresh()
        if not 0 < len(key) <= _KEY_CHARS_MAX:
            return None
        return self._keys.get(hash_of(key))

    def _refresh(self) -> None:
        try:
            mark = _mark(self._path)
            if mark == self._mark:
                return
            self._keys = read_credentials(self._path.read_bytes())
            self._mark = mark
            _log.info("credentials_reloaded", keys=len(self._keys))
        except (OSError, TypeError, ValueError) as error:
            _log.error("credentials_unreadable", error=str(error))


def hash_of(key: str) -> str:
    """The SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_credentials(content: bytes) -> dict[str, Identity]:
    """The identities of a credentials file by hash; TypeError or ValueError where it is not one."""
    data = json.loads(content)
    if not isinstance(data, dict):
        raise TypeError("the credentials are one JSON object")
    return {_digest(key): _identity(row) for key, row in data.items()}


def _digest(key: str) -> str:
    digest = key.lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("a credential's name is the SHA-256 of its key in hexadecimal")
    return digest


def _identity(row: Any) -> Identity:
    if not isinstance(row, dict) or not isinstance(row.get("scopes"), list):
        raise TypeError("a credential has an organization, scopes and an actor")
    organization, actor, scopes = row.get("organization"), row.get("actor"), row["scopes"]
    if not (isinstance(organization, str) and organization and isinstance(actor, str) and actor):
        raise ValueError("a credential's organization and actor are texts")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise ValueError(f"there are no scopes {unknown}")
    return Identity(organization=organization, scopes=frozenset(scopes), actor=actor)


def _mark(path: Path) -> _MARK:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino

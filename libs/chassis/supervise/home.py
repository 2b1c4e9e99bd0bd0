"""The folder in which a suite keeps everything that it must find again."""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chassis.files import write_whole
from chassis.identity import Jwk, generate_keys
from chassis.signing import KeyUnusable, ensure_key_pair
from chassis.supervise.errors import SuiteError

PRIVATE = 0o600


class Home:
    """`$LOYALTY_HOME`: the database, the keys, the administrator's key, logs.

    * `admin.key`, `keys/signing.json`: readable by the owner only;
    * `keys/jwks.json`: the public keys that services verify tokens with;
    * `keys/checkpoint.key`, `checkpoints`: what the ledger signs its checkpoints with, and where it
      keeps them; `checkpoint.pub` is the public key that verifies them;
    * `credentials.json`: SHA-256 of each API key (hex) → organization, scopes, actor;
    * `running.json`: while a suite runs, or after it was killed: the processes' numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def postgres(self) -> Path:
        """The embedded database's folder."""
        return self.folder / "postgres"

    @property
    def admin_key(self) -> Path:
        """The administrator's API key."""
        return self.folder / "admin.key"

    @property
    def credentials(self) -> Path:
        """The hashed API keys."""
        return self.folder / "credentials.json"

    @property
    def signing(self) -> Path:
        """The private key that tokens are signed with."""
        return self.folder / "keys" / "signing.json"

    @property
    def jwks(self) -> Path:
        """The public keys."""
        return self.folder / "keys" / "jwks.json"

    @property
    def checkpoint_key(self) -> Path:
        """The private key that checkpoints are signed with."""
        return self.folder / "keys" / "checkpoint.key"

    @property
    def checkpoint_public_key(self) -> Path:
        """The public key that verifies checkpoints, for everybody."""
        return self.folder / "checkpoint.pub"

    @property
    def checkpoints(self) -> Path:
        """The folder of the ledger's checkpoints."""
        return self.folder / "checkpoints"

    @property
    def running(self) -> Path:
        """The numbers of the running processes."""
        return self.folder / "running.json"

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.folder / "logs" / f"{name}.log"

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the folder alone; answers whether whoever held it last was killed.

        Raises SuiteError where another suite holds it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # The database's account must pass through; what is private guards itself.
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in ("keys", "logs"):
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)
            lock = (self.folder / "lock").open("ab")
        except OSError as error:
            raise SuiteError(
                f"{self.folder} cannot be used ({error.strerror}): set LOYALTY_HOME to a folder of"
                " your own"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SuiteError(
                    f"another suite runs in {self.folder}: stop it, or set LOYALTY_HOME"
                ) from None
            yield self.running.exists()

    def write_running(self, processes: Mapping[str, int], ports: Mapping[str, int]) -> None:
        """Write down which processes run and where they listen."""
        write_whole(
            self.running,
            json.dumps({"processes": dict(processes), "ports": dict(ports)}, indent=2) + "\n",
        )

    def forget_running(self) -> None:
        """Nothing runs any more."""
        self.running.unlink(missing_ok=True)

    def ensure_keys(self) -> Jwk:
        """Answer the private signing key, making the pair on first use."""
        if not (self.signing.exists() and self.jwks.exists()):
            private, public = generate_keys()
            write_whole(self.jwks, json.dumps(public, indent=2) + "\n")
            write_whole(self.signing, json.dumps(private, indent=2) + "\n", PRIVATE)
        try:
            ensure_key_pair(self.checkpoint_key, self.checkpoint_public_key)
        except KeyUnusable as error:
            raise SuiteError(f"{error}: mend it, or remove it to have it made anew") from None
        key: Jwk = _read_object(self.signing)
        return key

    def ensure_admin(self, organization: str, scopes: Iterable[str]) -> None:
        """Make the administrator's key on first use, and see that it is known by its hash."""
        if not self.admin_key.exists():
            write_whole(self.admin_key, f"loyalty_{secrets.token_urlsafe(32)}\n", PRIVATE)
        digest = hashlib.sha256(self.admin_key.read_text().strip().encode()).hexdigest()
        admin = {"organization": organization, "scopes": sorted(scopes), "actor": "admin"}
        known = _read_object(self.credentials) if self.credentials.exists() else {}
        # An earlier administrator's key ends with the file that held it.
        kept = {
            each: credential
            for each, credential in known.items()
            if (credential["organization"], credential["actor"]) != (organization, "admin")
        }
        wanted = {**kept, digest: admin}
        if wanted != known:
            write_whole(self.credentials, json.dumps(wanted, indent=2) + "\n", PRIVATE)


def _read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; SuiteError where somebody left something else there."""
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SuiteError(
            f"{path} is not what was written there: mend it, or remove it to have it made anew"
        )
    return found

"""Judging a ledger by its checkpoints, not by its database; docs/proof.md is the definition.

    history = read_checkpoints(open("checkpoints.jsonl", "rb"), public_key_of(pem))

This shares nothing with the ledger's own code, on purpose. Signatures need the package
`cryptography`: `pip install 'loyalty[proof]'`.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

FORMAT = 1
PURPOSE = b"loyalty.ledger.checkpoint\x01"
_SIGNATURE = b',"signature":"'
_LEAF = struct.Struct(">qqq32s")
_PLACED = struct.Struct(">qqqq32s")

Verify = Callable[[bytes, bytes], bool]
"""Whether a signature, the first argument, is that of a content, the second."""

LeafKey = tuple[int, int, int]
"""Kind (1 an account, 2 a revision of a program), id, and number: of the entry, or the revision."""


class NoSignatures(ValueError):
    """Signatures cannot be verified here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a checkpoint says of one bucket: the root over its leaves between two heads."""

    checkpoint: int
    time: str
    bucket: int
    after: int
    head: int
    leaves: int
    root: bytes


@dataclass(slots=True)
class History:
    """What a file of checkpoints says, as far as it can be believed.

    `problem` says where it cannot any more, and is empty where all of it can. `stretches` are by
    bucket, in order. `hash` is that of the last line.
    """

    checkpoints: int = 0
    hash: bytes = bytes(32)
    time: str = ""
    heads: list[int] = field(default_factory=list)
    stretches: dict[int, list[Stretch]] = field(default_factory=dict)
    problem: str = ""


class Tree:
    """A Merkle tree of RFC 6962 over leaves in order; `root` is its hash so far."""

    def __init__(self) -> None:
        self.count = 0
        self._complete: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf."""
        height, node = 0, hashlib.sha256(b"\x00" + leaf).digest()
        while self._complete and self._complete[-1][0] == height:
            node = hashlib.sha256(b"\x01" + self._complete.pop()[1] + node).digest()
            height += 1
        self._complete.append((height, node))
        self.count += 1

    @property
    def root(self) -> bytes:
        """The hash over all leaves; that of nothing where there are none."""
        if not self._complete:
            return hashlib.sha256().digest()
        *others, (_, node) = self._complete
        for _, left in reversed(others):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node


def leaf_of(key: LeafKey, digest: bytes) -> bytes:
    """A leaf as it is hashed into the tree."""
    return _LEAF.pack(*key, digest)


def public_key_of(pem: bytes) -> Verify:
    """What verifies with a public Ed25519 key (PEM). Raises ValueError where it is none."""
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see the docstring
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_public_key,
        )
    except ImportError:
        raise NoSignatures(
            "signatures need the package cryptography: pip install 'loyalty[proof]'"
        ) from None
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise ValueError("the public key is no PEM file of a public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the public key is not of Ed25519")  # noqa: TRY004 - it is a wrong file

    def verify(signature: bytes, content: bytes) -> bool:
        try:
            key.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return verify


def read_checkpoints(lines: Iterable[bytes], verify: Verify) -> History:
    """Read a file of checkpoints from its first line, up to where it stops being believable."""
    history = History()
    for place, line in enumerate(lines, 1):
        history.problem = _take(history, line, verify)
        if history.problem:
            history.problem = f"line {place}: {history.problem}"
            return history
    return history


def _take(history: History, line: bytes, verify: Verify) -> str:
    """Take in the next line; answers what is wrong with it."""
    if not line.endswith(b"\n"):
        return "it was not written to its end"
    line = line[:-1]
    body, mark, rest = line.rpartition(_SIGNATURE)
    if not mark or not rest.endswith(b'"}'):
        return "it is no checkpoint"
    unsigned = body + b"}"
    try:
        signature = base64.urlsafe_b64decode(rest[:-2] + b"==")
    except ValueError:
        signature = b""
    if not verify(signature, PURPOSE + unsigned):
        return "its signature is not that of the key: it was altered, or signed by somebody else"
    said = json.loads(unsigned)
    if said["format"] != FORMAT:
        return f"it has the format {said['format']}, which this version does not know"
    number, heads = said["number"], said["heads"]
    if number != history.checkpoints + 1:
        return (
            f"it is checkpoint {number} where {history.checkpoints + 1} follows: lines were"
            " removed or put in another order"
        )
    if bytes.fromhex(said["previous"]) != history.hash:
        return f"checkpoint {number} does not follow the one before it: that was exchanged"
    before = history.heads or [0] * len(heads)
    moved = {bucket: (leaves, bytes.fromhex(root)) for bucket, leaves, root in said["moved"]}
    if len(before) != len(heads) or any(
        later < earlier or (later > earlier) != (bucket in moved)
        for bucket, (earlier, later) in enumerate(zip(before, heads, strict=False))
    ):
        return f"checkpoint {number} contradicts the one before it"
    for bucket, (leaves, root) in moved.items():
        stretch = Stretch(number, said["time"], bucket, before[bucket], heads[bucket], leaves, root)
        history.stretches.setdefault(bucket, []).append(stretch)
    history.checkpoints, history.heads, history.time = number, heads, said["time"]
    history.hash = hashlib.sha256(line).digest()
    return ""


def kept_leaves(folder: Path, stretch: Stretch) -> dict[LeafKey, bytes] | None:
    """The leaves that a checkpoint was made of, where they are kept beside it and are those."""
    kept: dict[LeafKey, bytes] = {}
    tree = Tree()
    try:
        content = (folder / "leaves" / str(stretch.checkpoint)).read_bytes()
    except OSError:
        return None
    if len(content) % _PLACED.size:
        return None
    for bucket, *key, digest in _PLACED.iter_unpack(content):
        if bucket == stretch.bucket:
            leaf: LeafKey = (key[0], key[1], key[2])
            kept[leaf] = digest
            tree.add(leaf_of(leaf, digest))
    return kept if tree.root == stretch.root else None


def differences(kept: dict[LeafKey, bytes], found: dict[LeafKey, bytes]) -> list[str]:
    """What was signed and what is there now, where they differ, in the order of accounts."""
    said: dict[tuple[int, int], str] = {}
    then = {(kind, id_, number): digest for (kind, id_, number), digest in kept.items()}
    for key in sorted({*then, *found}):
        if then.get(key) == found.get(key):
            continue
        said.setdefault(key[:2], _difference(key, then, found))
    return list(said.values())


def _difference(key: LeafKey, then: dict[LeafKey, bytes], found: dict[LeafKey, bytes]) -> str:
    kind, id_, _ = key
    what, one = ("account", "entry") if kind == 1 else ("program", "revision")
    signed = sorted(number for k, i, number in then if (k, i) == (kind, id_))
    stored = sorted(number for k, i, number in found if (k, i) == (kind, id_))
    if not signed:
        return f"{what} {id_}: {one} {stored[-1]} is stored and was not there"
    if not stored:
        return f"{what} {id_}: {one} {signed[-1]} is missing"
    for number in signed:
        signed_digest, digest = then[kind, id_, number], found.get((kind, id_, number))
        if digest is None:
            return f"{what} {id_}: {one} {number} is missing, the last one stored is {stored[-1]}"
        if digest != signed_digest:
            now = digest.hex() if digest else "missing"
            return f"{what} {id_}: {one} {number} was {signed_digest.hex()} and is {now}"
    return f"{what} {id_}: {one} {stored[-1]} is stored and was not there"

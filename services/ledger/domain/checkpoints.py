"""Checkpoints of the ledger's history: what `docs/proof.md` states, in code.

A checkpoint is one line of JSON. It says how far every bucket's stream had come, and for each
bucket that moved since the checkpoint before the root of a Merkle tree (RFC 6962) over its leaves:
the last entry of every account that was posted to, and every revision of a program.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from kernel.ids import microseconds

FORMAT = 1
# What the first checkpoint names as the one before it.
NONE = bytes(32)
PURPOSE = b"loyalty.ledger.checkpoint\x01"

_SIGNATURE = b',"signature":"'
_LEAF = struct.Struct(">qqq32s")
_PLACED_LEAF = struct.Struct(">qqqq32s")
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">q")


class LeafKind(IntEnum):
    """What a leaf is about; the numbers of the contract."""

    ACCOUNT = 1
    REVISION = 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """The last entry of an account (`number` is its sequence), or a revision of a program.

    `digest` is empty where the entry or the revision is missing; hashed and kept it is zeros.
    """

    kind: LeafKind
    id: int
    number: int
    digest: bytes

    def packed(self) -> bytes:
        """What is hashed into the tree."""
        return _LEAF.pack(self.kind, self.id, self.number, self.digest)

    def placed(self, bucket: int) -> bytes:
        """The leaf as a record of 64 bytes."""
        return _PLACED_LEAF.pack(bucket, self.kind, self.id, self.number, self.digest)


class Tree:
    """The root of a Merkle tree over leaves that come one after the other (RFC 6962, 2.1)."""

    def __init__(self) -> None:
        self.leaves = 0
        # Roots of complete subtrees, each with twice as many leaves as the next or more.
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take in the next leaf."""
        node = hashlib.sha256(b"\x00" + leaf).digest()
        size = self.leaves
        while size & 1:
            node = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.leaves += 1

    def root(self) -> bytes:
        """The root over the leaves so far."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = hashlib.sha256(b"\x01" + peak + root).digest()
        return root


def revision_digest(record_time: datetime, actor: str, reason: str, config: str) -> bytes:
    """The digest of a program's revision; `config` is the text of its snapshot."""
    fields = (
        _NUMBER.pack(microseconds(record_time)),
        actor.encode(),
        reason.encode(),
        config.encode(),
    )
    return hashlib.sha256(
        b"loyalty.ledger.revision\x01" + b"".join(_LENGTH.pack(len(one)) + one for one in fields)
    ).digest()


@dataclass(frozen=True, slots=True)
class Moved:
    """A bucket that moved since the checkpoint before: its leaves since then, and their root."""

    bucket: int
    leaves: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a line says. `heads` is the last sequence of each bucket's stream, by bucket."""

    number: int
    time: datetime
    previous: bytes
    heads: tuple[int, ...]
    moved: tuple[Moved, ...]

    @property
    def leaves(self) -> int:
        """How many leaves it has in all buckets."""
        return sum(each.leaves for each in self.moved)

    def unsigned(self) -> bytes:
        """The line without its signature: what is signed after `PURPOSE`."""
        said = {
            "format": FORMAT,
            "number": self.number,
            "time": self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            "previous": self.previous.hex(),
            "heads": self.heads,
            "moved": [[each.bucket, each.leaves, each.root.hex()] for each in self.moved],
        }
        return json.dumps(said, separators=(",", ":")).encode()


def signed_line(unsigned: bytes, signature: bytes) -> bytes:
    """The line of a checkpoint: what was signed, with the signature as its last member."""
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=")
    return unsigned[:-1] + _SIGNATURE + encoded + b'"}'


def line_hash(line: bytes) -> bytes:
    """What the next checkpoint names a line by."""
    return hashlib.sha256(line).digest()


def read_line(line: bytes) -> Checkpoint:
    """The checkpoint of a line, its signature unseen. ValueError where it is none."""
    try:
        said = json.loads(line)
        if said["format"] != FORMAT:
            raise ValueError("another format")
        return Checkpoint(
            number=int(said["number"]),
            time=datetime.fromisoformat(said["time"]),
            previous=bytes.fromhex(said["previous"]),
            heads=tuple(int(head) for head in said["heads"]),
            moved=tuple(
                Moved(int(bucket), int(leaves), bytes.fromhex(root))
                for bucket, leaves, root in said["moved"]
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("the line is no checkpoint") from error


def went_back(before: Iterable[int], now: Iterable[int]) -> int | None:
    """The first bucket whose stream is shorter than it was, or None."""
    for bucket, (earlier, later) in enumerate(zip(before, now, strict=True)):
        if later < earlier:
            return bucket
    return None

"""The file of checkpoints, and the tree whose roots stand in it."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from loyalty import proof
from services.ledger.domain.checkpoints import Checkpoint, Leaf, LeafKind, Moved, Tree
from services.ledger.store.checkpoint_file import NAME, CheckpointFile, FolderHeld

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# RFC 6962 has no vectors of its own; these are those of its reference implementation.
LEAVES = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_tree_is_that_of_rfc_6962() -> None:
    tree, other = Tree(), proof.Tree()

    assert tree.root() == other.root == sha256().digest()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.add(bytes.fromhex(leaf))
        other.add(bytes.fromhex(leaf))
        assert tree.root().hex() == other.root.hex() == root


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, as it is written there."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + recursive_root(leaves[:k]) + recursive_root(leaves[k:])).digest()


def test_the_tree_agrees_with_the_definition_for_every_size() -> None:
    tree, other = Tree(), proof.Tree()
    leaves: list[bytes] = []
    for number in range(1, 130):
        leaves.append(str(number).encode())
        tree.add(leaves[-1])
        other.add(leaves[-1])

        assert tree.root() == other.root == recursive_root(leaves)


def line(number: int, width: int = 0) -> bytes:
    moved = tuple(Moved(0, 1, bytes(32)) for _ in range(width))
    return Checkpoint(number, NOW, bytes(32), (1,), moved).unsigned()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 57])
def test_lines_are_found_by_number(tmp_path: Path, count: int) -> None:
    file = CheckpointFile(tmp_path)
    lines = [line(number, width=number * 7 % 13) for number in range(1, count + 1)]
    for each in lines:
        file.append(each)

    assert file.last() == (lines[-1] if lines else None)
    for after in range(count + 3):
        assert list(file.lines(after)) == lines[after:]
        assert file.find(after) == (lines[after - 1] if 0 < after <= count else None)


def test_the_last_line_may_be_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path)
    lines = [line(1, width=4_000), line(2, width=4_000)]
    file.append(lines[0])
    assert file.last() == lines[0]
    file.append(lines[1])

    assert file.last() == lines[1]
    assert list(file.lines(1)) == lines[1:]


def test_what_a_killed_process_began_to_write_is_no_checkpoint(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path)
    file.append(line(1))
    with (tmp_path / NAME).open("ab") as torn:
        torn.write(line(2)[:40])

    assert file.last() == line(1)
    assert list(file.lines(0)) == [line(1)]
    file.append(line(2))
    assert (tmp_path / NAME).read_bytes() == line(1) + b"\n" + line(2) + b"\n"


def test_two_processes_never_write_at_once(tmp_path: Path) -> None:
    file, other = CheckpointFile(tmp_path / "f"), CheckpointFile(tmp_path / "f")
    with file.held(), pytest.raises(FolderHeld), other.held():
        pass
    with other.held():
        pass


def test_a_leaf_is_a_record_of_64_bytes() -> None:
    leaf = Leaf(LeafKind.ACCOUNT, 5, 7, b"d" * 32)

    assert len(leaf.placed(3)) == 64
    assert leaf.placed(3)[8:] == leaf.packed() == proof.leaf_of((1, 5, 7), b"d" * 32)
    assert Leaf(LeafKind.ACCOUNT, 5, 7, b"").packed()[24:] == bytes(32)

"""Comparing the ledger's history with its checkpoints, bucket by bucket."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loyalty.ledger.v1.proof_pb2 import ReadLeavesRequest, ReadLeavesResponse
from loyalty.proof import (
    History,
    LeafKey,
    Stretch,
    Tree,
    differences,
    kept_leaves,
    leaf_of,
)

if TYPE_CHECKING:
    # The stub as asyncio has it exists for types only.
    from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceAsyncStub

STRETCHES_A_CALL = 10_000


@dataclass(slots=True)
class Checked:
    """How many leaves were compared, and what is not as it was signed, one line each."""

    leaves: int = 0
    wrong: bool = False
    lines: list[str] = field(default_factory=list)


async def check_history(
    proof: "ProofServiceAsyncStub",
    history: History,
    folder: Path,
    shown: int,
    advance: Callable[[], None],
) -> Checked:
    """Have the leaves of every stretch recomputed, and compare their roots with what was signed.

    `folder` is where the file of checkpoints is; leaves kept beside it say which account differs.
    At most `shown` lines.
    """
    checked = Checked()
    if history.problem:
        checked.wrong = True
        checked.lines.append(f"checkpoints, {history.problem}")
    for bucket in sorted(history.stretches):
        for stretches in _calls(history.stretches[bucket]):
            await _compare(proof, stretches, folder, checked, advance)
    checked.lines = checked.lines[:shown]
    return checked


def _calls(stretches: list[Stretch]) -> Iterator[list[Stretch]]:
    for begin in range(0, len(stretches), STRETCHES_A_CALL):
        yield stretches[begin : begin + STRETCHES_A_CALL]


async def _compare(
    proof: "ProofServiceAsyncStub",
    stretches: Sequence[Stretch],
    folder: Path,
    checked: Checked,
    advance: Callable[[], None],
) -> None:
    request = ReadLeavesRequest(
        bucket=stretches[0].bucket,
        after=stretches[0].after,
        heads=[stretch.head for stretch in stretches],
    )
    waiting = iter(stretches)
    tree = Tree()
    wrong: list[tuple[Stretch, int]] = []
    async for part in proof.ReadLeaves(request):
        _grow(tree, part)
        if not part.complete:
            continue
        stretch = next(waiting)
        checked.leaves += tree.count
        if tree.root != stretch.root or part.missing:
            wrong.append((stretch, part.missing))
        tree = Tree()
        advance()
    # A ledger that leaves a stretch out shows nothing for it.
    wrong += [(stretch, stretch.head - stretch.after) for stretch in waiting]
    for stretch, missing in wrong:
        checked.wrong = True
        where = f"bucket {stretch.bucket}, checkpoint {stretch.checkpoint} of {stretch.time}"
        for said in await _named(proof, stretch, missing, folder):
            checked.lines.append(f"{where}: {said}")


def _grow(tree: Tree, part: ReadLeavesResponse) -> None:
    for leaf in part.leaves:
        tree.add(leaf_of((leaf.kind, leaf.id, leaf.number), leaf.digest))


async def _named(
    proof: "ProofServiceAsyncStub", stretch: Stretch, missing: int, folder: Path
) -> list[str]:
    """What differs in a stretch: by account where its leaves were kept."""
    said: list[str] = []
    kept = kept_leaves(folder, stretch)
    if kept is not None:
        found: dict[LeafKey, bytes] = {}
        request = ReadLeavesRequest(
            bucket=stretch.bucket, after=stretch.after, heads=[stretch.head]
        )
        async for part in proof.ReadLeaves(request):
            found |= {(leaf.kind, leaf.id, leaf.number): leaf.digest for leaf in part.leaves}
        said += differences(kept, found)
    if missing:
        said.append(f"{missing:,} of its changes are missing")
    return said or [
        f"what is stored between {stretch.after} and {stretch.head} is not what was signed"
    ]

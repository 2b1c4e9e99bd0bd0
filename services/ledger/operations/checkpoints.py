"""Making checkpoints, reading them, and recomputing what they say.

One process makes one at a time: a row of the database is locked, and the folder is held. A
checkpoint goes on from the last one that the database remembers, so that a file that was shortened
or exchanged is not written on as if nothing were.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Protocol

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool
from services.ledger.domain.checkpoint_refusals import (
    CheckpointNotFound,
    CheckpointsBroken,
    CheckpointsNotKept,
)
from services.ledger.domain.checkpoints import (
    NONE,
    PURPOSE,
    Checkpoint,
    Leaf,
    Moved,
    Tree,
    line_hash,
    read_line,
    signed_line,
    went_back,
)
from services.ledger.store import checkpoints as rows
from services.ledger.store.checkpoint_file import CheckpointFile, FolderHeld, LeavesFile
from services.ledger.store.tables import Database

LINES_MAX_BYTES = 1024 * 1024
PART = 1_000


class Signs(Protocol):
    """Signs what it is given."""

    def sign(self, content: bytes, /) -> bytes:
        """The signature."""


@dataclass(frozen=True)
class Keeper:
    """Where checkpoints are kept, and who signs them."""

    file: CheckpointFile
    signer: Signs


@dataclass(frozen=True)
class ProofContext:
    """The process's parts that these use cases need; without a keeper no checkpoint is made."""

    engine: Database
    reads: Pool
    buckets: int
    clock: Callable[[], datetime]
    keeper: Keeper | None = None

    def keeps(self) -> Keeper:
        """The keeper, or CHECKPOINTS_NOT_KEPT."""
        if self.keeper is None:
            raise CheckpointsNotKept
        return self.keeper


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint and its line in the file."""

    checkpoint: Checkpoint
    line: bytes


@dataclass(frozen=True, slots=True)
class LeavesPart:
    """Leaves of the stretch that ends with `head`; `missing` is known in the last part of it."""

    head: int
    leaves: Sequence[Leaf]
    missing: int | None


async def create_checkpoint(
    context: ProofContext, *, begin_anew: bool = False, not_since: datetime | None = None
) -> Written:
    """Write a checkpoint of what was posted since the last one; where nothing was, the last one.

    One that another process made after `not_since` is answered too. Refusals:
    CHECKPOINTS_NOT_KEPT, CHECKPOINTS_BROKEN.
    """
    keeper = context.keeps()
    async with context.engine.begin() as connection:
        remembered = await rows.lock_last(connection)
        with _held(keeper.file):
            if begin_anew:
                now = context.clock()
                await asyncio.to_thread(keeper.file.set_aside, f"until-{now:%Y%m%dT%H%M%S.%fZ}")
                last = None
            else:
                last = await asyncio.to_thread(_last, keeper.file, remembered)
            if last is not None and not_since is not None and last.checkpoint.time > not_since:
                return last
            written = await _write(context, keeper, last)
            checkpoint = written.checkpoint
            await rows.remember_last(
                connection, rows.Remembered(checkpoint.number, line_hash(written.line))
            )
    return written


@contextmanager
def _held(file: CheckpointFile) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(file.held())
        except FolderHeld as held:
            raise CheckpointsBroken(0, str(held)) from None
        yield


def _last(file: CheckpointFile, remembered: rows.Remembered | None) -> Written | None:
    """The last checkpoint of the file: the one that is remembered, or the one that follows it.

    The latter's process ended after it was written and before the database heard of it.
    """
    number, digest = (0, NONE) if remembered is None else (remembered.number, remembered.hash)
    try:
        line = file.last()
        if line is None and remembered is None:
            return None
        if line is None:
            raise CheckpointsBroken(number, "the file has no checkpoints any more")
        last = Written(read_line(line), line)
    except ValueError as error:
        raise CheckpointsBroken(number, f"in the file, {error}") from None
    is_it = last.checkpoint.number == number and line_hash(line) == digest
    follows = last.checkpoint.number == number + 1 and last.checkpoint.previous == digest
    if not is_it and not follows:
        raise CheckpointsBroken(
            number,
            f"the database knows it as the last one, and the file ends with another checkpoint"
            f" {last.checkpoint.number}",
        )
    return last


async def _write(context: ProofContext, keeper: Keeper, last: Written | None) -> Written:
    before = (0,) * context.buckets if last is None else last.checkpoint.heads
    number = 1 if last is None else last.checkpoint.number + 1
    async with (
        context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await rows.be_patient(connection)
        heads = await rows.read_heads(connection)
        if len(heads) != len(before):
            raise CheckpointsBroken(number - 1, "it is of another database: the buckets differ")
        shorter = went_back(before, heads)
        if shorter is not None:
            raise CheckpointsBroken(
                number - 1, f"the stream of bucket {shorter} is shorter than it was"
            )
        if last is not None and heads == before:
            return last
        time = context.clock()
        with keeper.file.leaves(number) as leaves:
            moved = [
                await _moved(connection, leaves, bucket, after, until)
                for bucket, (after, until) in enumerate(zip(before, heads, strict=True))
                if until > after
            ]
    previous = NONE if last is None else line_hash(last.line)
    checkpoint = Checkpoint(number, time, previous, heads, tuple(moved))
    unsigned = checkpoint.unsigned()
    line = signed_line(unsigned, keeper.signer.sign(PURPOSE + unsigned))
    await asyncio.to_thread(keeper.file.append, line)
    return Written(checkpoint, line)


async def _moved(
    connection: Connection, file: LeavesFile, bucket: int, after: int, until: int
) -> Moved:
    tree = Tree()
    async for leaf in rows.leaves(connection, bucket, after, until):
        tree.add(leaf.packed())
        file.add(bucket, leaf)
    return Moved(bucket, tree.leaves, tree.root())


async def get_checkpoint(context: ProofContext, number: int) -> Written:
    """A checkpoint by its number, 0 for the last one.

    Refusals: CHECKPOINTS_NOT_KEPT, CHECKPOINTS_BROKEN, CHECKPOINT_NOT_FOUND.
    """
    file = context.keeps().file
    try:
        line = await asyncio.to_thread(file.find, number) if number else file.last()
        if line is not None:
            return Written(read_line(line), line)
    except ValueError as error:
        raise CheckpointsBroken(number, f"in the file, {error}") from None
    raise CheckpointNotFound(number)


async def page_of_checkpoints(
    context: ProofContext, after: int, size: int
) -> tuple[Sequence[Written], bool]:
    """At most `size` checkpoints above a number, and whether more follow.

    Refusals: CHECKPOINTS_NOT_KEPT, CHECKPOINTS_BROKEN.
    """
    file = context.keeps().file
    try:
        return await asyncio.to_thread(_page, file.lines(after), size)
    except ValueError as error:
        raise CheckpointsBroken(after + 1, f"in the file, {error}") from None


def _page(lines: Iterator[bytes], size: int) -> tuple[Sequence[Written], bool]:
    page: list[Written] = []
    room = LINES_MAX_BYTES
    for line in lines:
        room -= len(line)
        if page and (len(page) == size or room < 0):
            return page, True
        page.append(Written(read_line(line), line))
    return page, False


async def read_leaves(
    context: ProofContext, bucket: int, after: int, heads: Sequence[int]
) -> AsyncGenerator[LeavesPart, None]:
    """The leaves of a bucket's stretches between heads, recomputed from the tables."""
    for begin, end in pairwise((after, *heads)):
        async with (
            context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await rows.be_patient(connection)
            part: list[Leaf] = []
            async for leaf in rows.leaves(connection, bucket, begin, end):
                part.append(leaf)
                if len(part) == PART:
                    yield LeavesPart(end, part, None)
                    part = []
            missing = await rows.missing_changes(connection, bucket, begin, end)
        yield LeavesPart(end, part, missing)

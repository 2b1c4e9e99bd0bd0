"""The file of checkpoints, and their leaves beside it: a folder outside the database.

`checkpoints.jsonl` has one line a checkpoint and only grows. `leaves/<number>` has the leaves of a
checkpoint, 64 bytes each; they are bound by its roots and serve to name what disagrees.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from services.ledger.domain.checkpoints import Leaf, read_line

NAME = "checkpoints.jsonl"
_CHUNK = 64 * 1024


class FolderHeld(Exception):
    """Another process writes in the folder."""


class CheckpointFile:
    """The folder of checkpoints. What it does blocks, for a moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder alone, made where it is missing. Raises FolderHeld."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderHeld(f"another process writes in {self._folder}") from None
            yield

    def last(self) -> bytes | None:
        """The last line that was written whole."""
        try:
            with self._path.open("rb") as file:
                return _line_before(file, _whole(file))
        except FileNotFoundError:
            return None

    def find(self, number: int) -> bytes | None:
        """The line of a checkpoint: looked for by halves, because lines stand in order."""
        for line in self.lines(number - 1):
            return line if read_line(line).number == number else None
        return None

    def lines(self, after: int) -> Iterator[bytes]:
        """The lines of checkpoints above a number. ValueError for a line that is no checkpoint."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            end = _whole(file)
            file.seek(_place_after(file, after, end))
            while file.tell() < end:
                yield file.readline()[:-1]

    @contextmanager
    def leaves(self, number: int) -> Iterator["LeavesFile"]:
        """Write the leaves of a checkpoint that is being made."""
        folder = self._folder / "leaves"
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / str(number)).open("wb") as file:
            yield LeavesFile(file)
            file.flush()
            os.fsync(file.fileno())

    def append(self, line: bytes) -> None:
        """Write a line; it is on the disk when this returns. Only while the folder is held."""
        with self._path.open("ab") as file:
            # What a killed process began to write was never a checkpoint.
            with self._path.open("rb") as written:
                file.truncate(_whole(written))
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._folder)

    def set_aside(self, name: str) -> None:
        """Move what is there to a folder of its own. Only while the folder is held."""
        found = [old for old in (self._path, self._folder / "leaves") if old.exists()]
        if found:
            aside = self._folder / name
            aside.mkdir(mode=0o700)
            for old in found:
                old.rename(aside / old.name)
            _sync_folder(self._folder)


class LeavesFile:
    """The leaves of one checkpoint, as they are written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, bucket: int, leaf: Leaf) -> None:
        """Write the next leaf."""
        self._file.write(leaf.placed(bucket))


def _whole(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    place = file.seek(0, os.SEEK_END)
    while place > 0:
        begin = max(0, place - _CHUNK)
        file.seek(begin)
        found = file.read(place - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        place = begin
    return 0


def _line_before(file: BinaryIO, end: int) -> bytes | None:
    if end == 0:
        return None
    begin = end - 1
    tail = b""
    while begin > 0:
        begin = max(0, begin - _CHUNK)
        file.seek(begin)
        tail = file.read(end - 1 - begin)
        found = tail.rfind(b"\n")
        if found >= 0:
            return tail[found + 1 :]
    file.seek(0)
    return file.read(end - 1)


def _place_after(file: BinaryIO, number: int, end: int) -> int:
    """Where the first line above a number begins, by halves."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        file.seek(middle)
        if middle:
            # Into the middle of a line: the next one is the first that can be read.
            file.seek(middle - 1)
            file.readline()
        begin = file.tell()
        if begin >= high:
            high = middle
            continue
        line = file.readline()
        if read_line(line).number > number:
            high = middle
        else:
            low = file.tell()
    return low


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

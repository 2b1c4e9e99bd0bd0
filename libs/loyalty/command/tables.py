"""Rows to a file or to stdout, as CSV or as JSON lines."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.command.output import nobody_reads


class Format(StrEnum):
    """How rows are written.

    In CSV a text that begins like a formula has an apostrophe before it; JSON lines are exact.
    """

    CSV = "csv"
    JSONL = "jsonl"


class Rows(Protocol):
    """Takes rows: values by the names of the columns."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row; a column that is not there is empty."""


@contextmanager
def written_rows(output: Path | None, kind: Format, columns: Sequence[str]) -> Iterator[Rows]:
    """Where rows are written while the context lasts; `output` None is stdout.

    A file has its name only when it is complete: until then it is called `….part`. A pipe, a device
    or a link is written to as it is.
    """
    if output is None:
        try:
            rows = _rows(sys.stdout, kind, columns)
            yield rows
            rows.end()
            sys.stdout.flush()
        except BrokenPipeError:
            nobody_reads()
        return
    whole = not output.is_symlink() and (output.is_file() or not output.exists())
    part = output.with_name(f"{output.name}.part") if whole else output
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            rows = _rows(file, kind, columns)
            yield rows
            rows.end()
        if whole:
            part.replace(output)
    except OSError as error:
        raise ValueError(f"{output} cannot be written: {error.strerror}") from None


def time_text(stamp: Timestamp) -> str:
    """A timestamp in RFC 3339; empty where it is unset."""
    return stamp.ToJsonString() if stamp.seconds or stamp.nanos else ""


def _rows(file: IO[str], kind: Format, columns: Sequence[str]) -> "_Csv | _JsonLines":
    return _Csv(file, columns) if kind is Format.CSV else _JsonLines(file, columns)


class _Csv:
    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        self._writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        self._begun = False

    def write(self, row: Mapping[str, Any]) -> None:
        self._begin()
        self._writer.writerow({name: _cell(value) for name, value in row.items()})

    def end(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # Whoever is refused gets nothing, not an empty table.
        if not self._begun:
            self._begun = True
            self._writer.writeheader()


class _JsonLines:
    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns

    def write(self, row: Mapping[str, Any]) -> None:
        given = {name: row[name] for name in self._columns if row.get(name) not in {None, ""}}
        self._file.write(json.dumps(given, ensure_ascii=False) + "\n")

    def end(self) -> None:
        """Lines need no end."""


def _cell(value: Any) -> Any:
    # A spreadsheet runs a text that begins like a formula.
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return value

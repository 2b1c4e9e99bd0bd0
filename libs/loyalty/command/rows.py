"""A file of events: its rows as events in the order of time, each with an id that is its own.

Nothing here calls a service. A file is read whole, so that all of it is known to be good before
anything of it is sent; a million rows take about a gigabyte.
"""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.command.output import SHOWN
from loyalty.command.times import instant_and_day
from loyalty.common.v1.money_pb2 import Money
from loyalty.rules.v1.events_pb2 import Event

FIELDS = ("member", "time", "amount", "type", "store", "channel", "id")
REQUIRED = ("member", "time")
PURCHASE = "purchase"
_MEMBER = _ID = re.compile(r"[!-.0-~]{1,128}")
_TYPE = re.compile(r"[a-z_]{1,64}")
_AMOUNT = re.compile(r"[0-9]{1,15}([.][0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class BadRow:
    """Why a row cannot be an event: the line where it begins, from 1, and the column, or empty."""

    line: int
    column: str
    why: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", column {self.column}" if self.column else "")
        return f"{where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the instant at which it counts, that instant's local day, and the event."""

    time: datetime
    day: date
    event: Event


@dataclass(slots=True)
class File:
    """A file that was read: good rows in the order of time, bad ones in the order of lines."""

    digest: str
    rows: list[Row] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a file's columns mean: columns by field, what holds where none says it, and the zone."""

    columns: Mapping[str, str]
    zone: ZoneInfo
    type: str = PURCHASE
    currency: str = ""


def parse_columns(text: str) -> dict[str, str]:
    """The columns by field of `member=…,time=…`; ValueError says what is wrong with it."""
    columns: dict[str, str] = {}
    for item in text.split(","):
        name, equals, column = (part.strip() for part in item.partition("="))
        if not equals or not column:
            raise ValueError(f"--map: {item.strip()!r} is not of the form field=column")
        if name not in FIELDS:
            raise ValueError(f"--map: there is no field {name!r}, but {', '.join(FIELDS)}")
        if name in columns:
            raise ValueError(f"--map: {name} is there twice")
        columns[name] = column
    for name in REQUIRED:
        if name not in columns:
            raise ValueError(f"--map: {name} is missing, as in {name}=COLUMN")
    return columns


def read_file(path: Path, meaning: Meaning) -> File:
    """Read a CSV file in UTF-8 whose first line names the columns.

    Rows of one instant stay in the order of the file. ValueError where it cannot be read at all.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: this is not UTF-8") from None
    file = File(hashlib.sha256(content).hexdigest())
    lines = _Lines(text)
    header = _header(path, lines, meaning)
    events = _Events(meaning)
    for line, values in lines:
        if not values:
            continue
        if isinstance(values, str):
            file.bad.append(BadRow(line, "", values))
        elif len(values) != len(header):
            why = f"{len(values)} values, where the first line names {len(header)} columns"
            file.bad.append(BadRow(line, "", why))
        else:
            row = {name: value.strip() for name, value in zip(header, values, strict=True)}
            try:
                file.rows.append(events.take(row))
            except _BadValueError as error:
                column = meaning.columns[error.field]
                file.bad.append(BadRow(line, column, error.why))
    file.rows.sort(key=lambda row: row.time)
    return file


class _Lines:
    """The records of a text with the line where each begins; a `str` is what is wrong with it."""

    def __init__(self, text: str) -> None:
        self._reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def __iter__(self) -> Iterator[tuple[int, list[str] | str]]:
        while True:
            begin = self._reader.line_num + 1
            try:
                yield begin, next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield begin, f"this is not CSV: {error}"


def _header(path: Path, lines: _Lines, meaning: Meaning) -> list[str]:
    """The names of the columns; ValueError where a mapped one is not there."""
    _, first = next(iter(lines), (1, ""))
    if not first or isinstance(first, str):
        raise ValueError(f"{path}, line 1: the names of the columns are missing")
    header = [name.strip() for name in first]
    for name, count in Counter(header).items():
        if count > 1 and name in meaning.columns.values():
            raise ValueError(f"{path}, line 1: there are {count} columns {name!r}")
    for name, column in meaning.columns.items():
        if column not in header:
            there = ", ".join(header[:SHOWN]) + (", …" if len(header) > SHOWN else "")
            raise ValueError(
                f"{path}, line 1: there is no column {column!r} for {name}, but {there}"
            )
    return header


class _BadValueError(Exception):
    """A value that its field cannot have."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.field = name
        self.why = why


class _Events:
    """Makes events of rows, and counts equal rows."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._equal: Counter[bytes] = Counter()
        self._ids: set[str] = set()
        self._days: dict[str, tuple[datetime, date]] = {}

    def take(self, row: Mapping[str, str]) -> Row:
        """The event of a row; `_BadValueError` where it is none."""
        columns = self._meaning.columns
        text = {name: row[column] for name, column in columns.items()}
        member = _matching("member", text["member"], _MEMBER, "1 to 128 visible characters but /")
        time, day = self._time(text["time"])
        kind = text.get("type") or self._meaning.type
        event = Event(
            id=self._id(row, text.get("id", "")),
            type=_matching("type", kind, _TYPE, "a type such as purchase"),
            member=member,
            effective_time=_stamp(time),
            store=_short("store", text.get("store", ""), 128),
            channel=_short("channel", text.get("channel", ""), 64),
        )
        amount = text.get("amount", "")
        if amount:
            _matching("amount", amount, _AMOUNT, "an amount such as 12.34")
            event.amount.CopyFrom(Money(amount=amount, currency=self._meaning.currency))
        elif "amount" in columns and kind == PURCHASE:
            raise _BadValueError("amount", "a purchase needs an amount")
        return Row(time, day, event)

    def _id(self, row: Mapping[str, str], given: str) -> str:
        """The id given; else the digest of the row with its place among those equal to it."""
        if "id" in self._meaning.columns:
            _matching("id", given, _ID, "1 to 128 visible characters but /")
            if given in self._ids:
                raise _BadValueError("id", f"{given!r} is the id of a row before, too")
            self._ids.add(given)
            return given
        canonical = json.dumps(sorted(row.items()), ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode())
        self._equal[digest.digest()] += 1
        digest.update(f"\n{self._equal[digest.digest()]}".encode())
        return digest.hexdigest()[:32]

    def _time(self, text: str) -> tuple[datetime, date]:
        """The instant of a date or a time, and its local day; without an offset they are local."""
        known = self._days.get(text)
        if known is None:
            try:
                known = self._days[text] = instant_and_day(text, self._meaning.zone)
            except ValueError as error:
                raise _BadValueError("time", str(error)) from None
        return known


def _matching(name: str, text: str, pattern: re.Pattern[str], meant: str) -> str:
    if not pattern.fullmatch(text):
        raise _BadValueError(name, f"{text!r} is not {meant}" if text else f"empty, not {meant}")
    return text


def _short(name: str, text: str, most: int) -> str:
    if len(text) > most:
        raise _BadValueError(name, f"longer than {most} characters")
    return text


def _stamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp

"""A file of members: each row as a message, read as a stream, because such files are long.

CSV in UTF-8, whose first line names the columns, or JSON lines with the fields of `MemberImport`.
Nothing here calls a service.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.command.rows import BadRow
from loyalty.command.times import instant_of
from loyalty.ledger.v1.account_pb2 import MemberImport

FIELDS = (
    "member",
    "enrol_time",
    "billing_day",
    "currency",
    "points",
    "awarded_time",
    "expire_time",
    "expiry",
)
IDENTIFIER = "identifier."
IDENTIFIERS_MAX, BALANCES_MAX = 20, 100
_POINTS_MAX = 10**15
_JSON = (".json", ".jsonl", ".ndjson")
_MEMBER = re.compile(r"[!-.0-~]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NUMBER = re.compile(r"[0-9]{1,16}")
# Half of a character: JSON can name one, UTF-8 has none.
_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class NumberedMember:
    """A row: its number among the rows, from 1, and the member that it is."""

    number: int
    message: MemberImport


class _BadFieldError(Exception):
    """A value that its field cannot have."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field
        self.why = why


@dataclass(frozen=True, slots=True)
class MemberFile:
    """A file of members; `columns` maps fields to columns that are named otherwise."""

    path: Path
    zone: ZoneInfo
    columns: Mapping[str, str]

    def digest(self) -> str:
        """SHA-256 of the file. ValueError where it cannot be read."""
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise ValueError(f"{self.path} cannot be read: {error.strerror}") from None
        return digest.hexdigest()

    def rows(self) -> Iterator[NumberedMember | BadRow]:
        """The rows in order, good and bad. ValueError where the file is no such file."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                if self.path.suffix.lower() in _JSON:
                    yield from self._of_json(file)
                else:
                    yield from self._of_csv(file)
        except OSError as error:
            raise ValueError(f"{self.path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{self.path}, line {self._unreadable()}: this is not UTF-8") from None

    def _unreadable(self) -> int:
        """The first line that is not UTF-8."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 0

    def _of_csv(self, file: Any) -> Iterator[NumberedMember | BadRow]:
        reader = csv.reader(file, strict=True)
        header = self._header(reader)
        number = 0
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                yield BadRow(line, "", f"this is not CSV: {error}")
                continue
            if not values:
                continue
            number += 1
            if len(values) != len(header):
                why = f"{len(values)} values, where the first line names {len(header)} columns"
                yield BadRow(line, "", why)
                continue
            texts = {
                field: value.strip()
                for field, value in zip(header, values, strict=True)
                if field is not None
            }
            yield self._row(number, line, partial(self._flat, texts))

    def _header(self, reader: Any) -> list[str | None]:
        """The field of each column; None for columns that mean nothing here."""
        names = [name.strip() for name in next(reader, [])]
        fields = {column: field for field, column in self.columns.items()}
        for field, column in self.columns.items():
            if column not in names:
                raise ValueError(f"{self.path}, line 1: there is no column {column!r} for {field}")
        header: list[str | None] = []
        for name in names:
            own = fields.get(name, name)
            known = own in FIELDS or (
                own.startswith(IDENTIFIER) and _KIND.fullmatch(own.removeprefix(IDENTIFIER))
            )
            if known and own in header:
                raise ValueError(f"{self.path}, line 1: {own} is there twice")
            header.append(own if known else None)
        if "member" not in header:
            raise ValueError(f"{self.path}, line 1: there is no column member; --map names another")
        return header

    def _of_json(self, file: Any) -> Iterator[NumberedMember | BadRow]:
        number = 0
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            number += 1
            yield self._row(number, line, partial(self._nested, text))

    def _row(
        self, number: int, line: int, make: Callable[[], MemberImport]
    ) -> NumberedMember | BadRow:
        try:
            message = make()
        except _BadFieldError as error:
            return BadRow(line, self.columns.get(error.field, error.field), error.why)
        message.number = number
        return NumberedMember(number, message)

    def _flat(self, texts: Mapping[str, str]) -> MemberImport:
        """The member of a row of CSV, which brings at most one opening balance."""
        kinds = [
            (field.removeprefix(IDENTIFIER), value)
            for field, value in texts.items()
            if field.startswith(IDENTIFIER) and value
        ]
        given: dict[str, Any] = {
            "member": texts["member"],
            "enrol_time": texts.get("enrol_time", ""),
            "billing_day": texts.get("billing_day", ""),
            "identifiers": [{"kind": kind, "value": value} for kind, value in kinds],
        }
        brought = {
            name: texts.get(name, "")
            for name in ("currency", "points", "awarded_time", "expire_time", "expiry")
        }
        if brought["points"] not in {"", "0"}:
            given["balances"] = [brought]
        elif any(brought[name] for name in ("awarded_time", "expire_time", "expiry")):
            raise _BadFieldError("points", "empty, where an opening balance is described")
        return self._message(given)

    def _nested(self, text: str) -> MemberImport:
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            why = f"this is not JSON: {error.msg}, character {error.pos + 1}"
            raise _BadFieldError("", why) from None
        except (ValueError, RecursionError) as error:
            # A number of thousands of digits, or brackets in brackets in brackets.
            raise _BadFieldError("", f"this is not JSON: {error}") from None
        if not isinstance(given, dict):
            raise _BadFieldError("", "this is no object")
        return self._message(_snake(given))

    def _message(self, given: Mapping[str, Any]) -> MemberImport:
        message = MemberImport(
            member=_matching(given, "member", _MEMBER, "1 to 128 visible characters but /"),
            billing_day=_number(given, "billing_day", 31),
        )
        self._time(given, "enrol_time", message.enrol_time)
        for one in _list(given, "identifiers", IDENTIFIERS_MAX):
            value = _text(one, "value")
            if not 1 <= len(value) <= 200 or "\0" in value or _SURROGATE.search(value):
                raise _BadFieldError("identifiers", "a value has 1 to 200 characters")
            kind = _matching(one, "kind", _KIND, "a kind such as card or email_hash")
            message.identifiers.add(kind=kind, value=value)
        for one in _list(given, "balances", BALANCES_MAX):
            self._balance(one, message)
        return message

    def _balance(self, given: Mapping[str, Any], message: MemberImport) -> None:
        points = _number(given, "points", _POINTS_MAX)
        if not points:
            raise _BadFieldError("points", "an opening balance has at least one point")
        balance = message.balances.add(points=points)
        for name in ("currency", "expiry"):
            if given.get(name):
                setattr(balance, name, _matching(given, name, _NAME, "a name"))
        self._time(given, "awarded_time", balance.awarded_time)
        self._time(given, "expire_time", balance.expire_time)
        if given.get("expire_time") and given.get("expiry"):
            raise _BadFieldError("expiry", "stands beside expire_time, where one is enough")

    def _time(self, given: Mapping[str, Any], name: str, stamp: Timestamp) -> None:
        text = given.get(name)
        if not text:
            return
        try:
            stamp.FromDatetime(instant_of(str(text), self.zone))
        except ValueError as error:
            raise _BadFieldError(name, str(error)) from None


def parse_members_map(text: str) -> dict[str, str]:
    """Columns by field of `member=…,identifier.card=…`; ValueError says what is wrong with it."""
    columns: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        field, equals, column = (part.strip() for part in item.partition("="))
        if not equals or not column:
            raise ValueError(f"--map: {item.strip()!r} is not of the form field=column")
        kind = field.removeprefix(IDENTIFIER)
        if field not in FIELDS and (kind == field or not _KIND.fullmatch(kind)):
            raise ValueError(
                f"--map: there is no field {field!r}, but {', '.join(FIELDS)}, {IDENTIFIER}KIND"
            )
        columns[field] = column
    return columns


def _matching(given: Mapping[str, Any], name: str, pattern: re.Pattern[str], meant: str) -> str:
    text = _text(given, name)
    if not pattern.fullmatch(text):
        raise _BadFieldError(name, f"{text!r} is not {meant}" if text else f"empty, not {meant}")
    return text


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _BadFieldError(name, "is no text")
    return str(value)


def _number(given: Mapping[str, Any], name: str, most: int) -> int:
    text = str(given.get(name) or "0")
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise _BadFieldError(name, f"{text!r} is not a whole number up to {most}")
    return int(text)


def _list(given: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    found = given.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _BadFieldError(name, "is no list of objects")
    if len(found) > most:
        raise _BadFieldError(name, f"more than {most}")
    return found


def _snake(value: Any) -> Any:
    """JSON whose names are those of the proto, also where they were written `likeThis`."""
    if isinstance(value, list):
        return [_snake(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", str(name)): _snake(one)
        for name, one in value.items()
    }

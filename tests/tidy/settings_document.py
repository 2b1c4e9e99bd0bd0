"""Writes `docs/settings.md` from the descriptors and comments of `ProgramSettings`.

`python -m tests.tidy.settings_document` prints it; a test compares it with the committed one.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from chassis.wording import pattern_words
from loyalty.ledger.v1 import program_pb2
from services.gateway.http.comments import comments

_HEAD: Final = """# Settings

What an organization can switch or bound in a program, by itself and at once. `GetProgramSettings`
answers all of them. `UpdateProgramSettings` changes those that its mask names, singly
(`points.daily_cap`) or by group (`points`, `rollouts.console`); a setting that the mask names and
the request leaves out goes back to its default. With `validate_only` nothing is written: the answer
is what would be, and its `changes` say what would be different.

* Every change is one revision with its time, actor and reason. `ListSettingsRevisions` answers them
  newest first with what each changed, and `RestoreSettingsRevision` makes the settings again what
  they were, as a new revision. Currencies and counters are no settings: they are never removed.
* `BatchUpdateProgramSettings` changes up to 100 programs, all of them or none, one revision each;
  the organization must have switched `bulk_updates` on.
* What is decided after a change is decided under it, and each posting names its revision. Lots that
  exist keep the expiry that they were given. Other services hear of a change on the stream.
* `SETTING_OFF` refuses what a setting does not allow, and names it. `SETTING_FIXED` refuses to
  change `program.time_zone` after the first posting, and to switch `currencies.alternate` off while
  the program has more than one currency, also where that is to be restored.
* Over HTTP: `GET` and `PATCH /v1/programs/{program}/settings`, `GET …/settings/revisions`,
  `POST …/settings/revisions/{revision}:restore`, and `POST /v1/programs:batchUpdateSettings`.

Points are in the currency's smallest unit. A setting that is *kept for* a service is stored,
answered and listed in the history; that service does not act on it yet. This page is made by
`python -m tests.tidy.settings_document`.

"""
_COLUMNS: Final = (
    "| setting | type | bounds | default | read by | what it does |\n|---|---|---|---|---|---|\n"
)
_SAID: Final = re.compile(
    r"Optional\. (.*?) ?Default: (.+?)\. (Read by|Kept for): ([a-z]+(?:, [a-z]+)*)\."
)
# The column of bounds says it.
_BOUNDS: Final = re.compile(r"(, [0-9,]+ to (10\^15|[0-9,]+)|: up to [0-9,]+ characters)(?=[;:.])")


@dataclass(frozen=True)
class Row:
    """One setting, as the contract has it. `default` is in the words of its comment."""

    path: str
    kind: str
    bounds: str
    default: str
    readers: str
    does: str


def rows(message: Descriptor | None, prefix: str = "", about: str = "") -> Iterator[Row]:
    """The settings of a message and of the groups below it, in the contract's order.

    ValueError where a setting's comment does not say its default and who reads it.
    """
    for field in message.fields if message is not None else ():
        comment = comments().of(field.full_name)
        path = prefix + field.name
        if comment.startswith("Output only."):
            continue
        if _is_group(field):
            # A group of its own is named by its path; one within it by its comment.
            own = comment.removeprefix("Optional. ") + " " if prefix else ""
            yield from rows(field.message_type, f"{path}.", own)
            continue
        said = _SAID.fullmatch(comment)
        if said is None:
            raise ValueError(f"{field.full_name}: {comment}")
        readers = said[4] if said[3] == "Read by" else f"kept for {said[4]}"
        does = about + _BOUNDS.sub("", said[1]) + _values(field)
        yield Row(path, _kind(field), _bounds(field, said[2]), said[2], readers, does)


def render() -> str:
    """The whole page."""
    program = _table(program_pb2.ProgramSettings.DESCRIPTOR)
    organization = _table(program_pb2.OrganizationSettings.DESCRIPTOR)
    return (
        f"{_HEAD}## Of a program\n\n{program}\n"
        f"## Of an organization\n\nChanged by `UpdateOrganization`.\n\n{organization}"
    )


def _table(message: Descriptor) -> str:
    lines = [
        f"| `{row.path}` | {row.kind} | {row.bounds} | {row.default} | {row.readers} | {row.does} |"
        for row in rows(message)
    ]
    return _COLUMNS + "\n".join(lines).replace("|  |", "| |") + "\n"


def _is_group(field: FieldDescriptor) -> bool:
    within = field.message_type
    return (
        within is not None and not field.is_repeated and within.file.package.startswith("loyalty")
    )


def _values(field: FieldDescriptor) -> str:
    """What the values of an enumeration mean."""
    if field.enum_type is None:
        return ""
    # A value's full name stands beside its enum's, as C++ has it.
    parent = field.enum_type.full_name.rpartition(".")[0]
    return "".join(
        f" `{value.name}`: {comments().of(f'{parent}.{value.name}')}"
        for value in field.enum_type.values
        if value.number
    )


def _kind(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        kind = "time" if field.message_type.name == "Timestamp" else f"`{field.message_type.name}`"
    elif field.enum_type is not None:
        kind = "a choice"
    elif field.type == FieldDescriptor.TYPE_BOOL:
        kind = "on or off"
    else:
        kind = "text" if field.type == FieldDescriptor.TYPE_STRING else "number"
    return f"list of {kind}" if field.is_repeated else kind


def _bounds(field: FieldDescriptor, default: str) -> str:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if field.is_repeated:
        each = _text_bounds(rules.repeated.items.string)
        return f"at most {rules.repeated.max_items:,}" + (f"; each {each}" if each else "")
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text_bounds(rules.string)
    if field.message_type is not None:
        return "years 1900 to 8999"
    bounds = rules.int32 if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else rules.int64
    if field.enum_type is not None or field.type == FieldDescriptor.TYPE_BOOL:
        return ""
    # Without presence a zero is what is not given, and stands for the default.
    least = bounds.gte if field.has_presence or default == "0" else max(bounds.gte, 1)
    return f"{least:,} to " + ("10^15" if bounds.lte == 10**15 else f"{bounds.lte:,}")


def _text_bounds(rules: Any) -> str:
    if rules.pattern:
        return pattern_words(rules.pattern).removeprefix("must be ")
    return f"at most {rules.max_len} characters" if rules.max_len else ""


if __name__ == "__main__":
    sys.stdout.write(render())

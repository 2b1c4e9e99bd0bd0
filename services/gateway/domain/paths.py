"""Paths of the HTTP interface: templates of `google.api.http` and the table that finds them.

A template is literal segments and `{field}` variables, each a whole segment, with an optional
custom verb at the end: `/v1/programs/{program}/members/{member}:earn`. In a request's path the verb
begins at the last raw colon of the last segment; a colon that belongs to an id is written `%3A`
there, so a variable can never swallow a verb.
"""

import re
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~-]+")
_VERB = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class MalformedPath(Exception):
    """The path is not valid percent-encoded UTF-8."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. `segments` has None for a variable; `variables` their names, in order."""

    text: str
    segments: tuple[str | None, ...]
    variables: tuple[str, ...]
    verb: str


def parse_template(text: str) -> Template:
    """Parse a template; ValueError where it uses more of the grammar than the suite does."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} does not begin with a slash")
    body, verb = text, ""
    colon = text.rfind(":")
    if colon > text.rfind("/"):
        body, verb = text[:colon], text[colon + 1 :]
        if not _VERB.fullmatch(verb):
            raise ValueError(f"{text!r} has no verb after its colon")
    segments: list[str | None] = []
    variables: list[str] = []
    for segment in body[1:].split("/"):
        variable = _VARIABLE.fullmatch(segment)
        if variable:
            segments.append(None)
            variables.append(variable[1])
        elif _LITERAL.fullmatch(segment):
            segments.append(segment)
        else:
            raise ValueError(f"{text!r} has the segment {segment!r}")
    if len(set(variables)) != len(variables):
        raise ValueError(f"{text!r} names a variable twice")
    return Template(text, tuple(segments), tuple(variables), verb)


def percent_decoded(text: str) -> str:
    """`text` without percent encoding; MalformedPath where that is not UTF-8."""
    if "%" not in text:
        if not text.isascii():
            raise MalformedPath(text)
        return text
    if _BAD_ESCAPE.search(text):
        raise MalformedPath(text)
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedPath(text) from error


class _Node(Generic[T]):
    """One segment of the table. A leaf has a value."""

    __slots__ = ("literals", "value", "variable")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.variable: _Node[T] | None = None
        self.value: T | None = None


class PathTable(Generic[T]):
    """Finds the value of the template that a method and a raw path match.

    Looked up by method, verb and number of segments first, so that a lookup walks one small tree
    whatever the number of routes. A literal segment wins over a variable.
    """

    def __init__(self) -> None:
        self._trees: dict[tuple[str, str, int], _Node[T]] = {}

    def add(self, method: str, template: Template, value: T) -> None:
        """Add a template; ValueError where another one matches the same paths."""
        key = (method, template.verb, len(template.segments))
        node = self._trees.setdefault(key, _Node())
        for segment in template.segments:
            if segment is None:
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        if node.value is not None:
            raise ValueError(f"{method} {template.text} is taken")
        node.value = value

    def find(self, method: str, raw_path: str) -> tuple[T, tuple[str, ...]] | None:
        """The value and its variables' values in order, decoded; None where nothing matches.

        `raw_path` is as it was sent, percent-encoded; MalformedPath where it cannot be decoded.
        """
        body, verb = raw_path, ""
        colon = raw_path.rfind(":")
        if colon > raw_path.rfind("/"):
            # A colon without a verb is not the same as no colon.
            body, verb = raw_path[:colon], raw_path[colon + 1 :] or ":"
        segments = body.split("/")
        if segments[0]:
            return None
        tree = self._trees.get((method, verb, len(segments) - 1))
        if tree is None:
            return None
        if "%" in body or not body.isascii():
            segments = [percent_decoded(segment) for segment in segments]
        return _walk(tree, segments, 1, ())


def _walk(
    node: _Node[T], segments: list[str], index: int, values: tuple[str, ...]
) -> tuple[T, tuple[str, ...]] | None:
    if index == len(segments):
        return None if node.value is None else (node.value, values)
    segment = segments[index]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _walk(literal, segments, index + 1, values)
        if found is not None:
            return found
    if node.variable is not None and segment:
        return _walk(node.variable, segments, index + 1, (*values, segment))
    return None

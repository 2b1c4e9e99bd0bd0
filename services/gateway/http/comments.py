"""Comments of the protos, and the descriptors that they belong to.

Descriptors linked into the process carry no comments, so `make generate` writes a set with source
info beside this file.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2

DESCRIPTORS = Path(__file__).parent / "descriptors.binpb"

_COMMENTED = ("loyalty.", "google.rpc", "google.type")


class Comments:
    """The leading comment of every element, by its full name; one line a paragraph."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._texts: dict[str, str] = {}
        for file in files.file:
            if file.package.startswith(_COMMENTED):
                names = dict(_names(file))
                for location in file.source_code_info.location:
                    name = names.get(tuple(location.path))
                    if name is not None and location.leading_comments:
                        self._texts[name] = _unwrapped(location.leading_comments)

    def of(self, full_name: str) -> str:
        """The comment of an element, or nothing."""
        return self._texts.get(full_name, "")


@cache
def comments() -> Comments:
    """The comments that ship with this package."""
    return Comments(descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()))


def _unwrapped(comment: str) -> str:
    paragraphs: list[list[str]] = [[]]
    for line in comment.splitlines():
        text = line.strip()
        if text:
            paragraphs[-1].append(text)
        else:
            paragraphs.append([])
    return "\n\n".join(" ".join(lines) for lines in paragraphs if lines)


_Place = tuple[int, ...]


def _names(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[_Place, str]]:
    for index, message in enumerate(file.message_type):
        yield from _message_names((4, index), f"{file.package}.{message.name}", message)
    for index, enum in enumerate(file.enum_type):
        yield from _enum_names((5, index), f"{file.package}.{enum.name}", enum)
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (6, index), name
        for place, method in enumerate(service.method):
            yield (6, index, 2, place), f"{name}.{method.name}"


def _message_names(
    path: _Place, name: str, message: descriptor_pb2.DescriptorProto
) -> Iterator[tuple[_Place, str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, 2, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_names((*path, 3, index), f"{name}.{nested.name}", nested)
    for index, enum in enumerate(message.enum_type):
        yield from _enum_names((*path, 4, index), f"{name}.{enum.name}", enum)


def _enum_names(
    path: _Place, name: str, enum: descriptor_pb2.EnumDescriptorProto
) -> Iterator[tuple[_Place, str]]:
    yield path, name
    # A value's full name stands beside its enum's, as C++ has it.
    parent = name.rpartition(".")[0]
    for index, value in enumerate(enum.value):
        yield (*path, 2, index), f"{parent}.{value.name}"
